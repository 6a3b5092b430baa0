"""Who acts, in which roles, and which command needs which role.

What may not go in: what a decision does; HTTP; a second kind of token beside that of `streamrec.callers`.
"""
