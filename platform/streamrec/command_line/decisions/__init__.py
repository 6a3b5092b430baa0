"""What commands that decide something share: who acts, where decisions are made, where versions stand.

What may not go in: what a decision is; `streamrec.governance` knows.
"""
