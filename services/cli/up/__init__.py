"""`streamrec up`: the whole platform of one machine under one supervisor.

What may not go in: what a part does. A part is a command of this installation in a process of its own.
"""
