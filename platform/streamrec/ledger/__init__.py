"""The decision ledger: who decided what, on which evidence, so that it can be proved afterwards.

What may not go in: a decision itself, or what a kind of entry demands; the rooms above decide and append. Nor
users' data: actors are members of staff, and evidence counts groups of users without naming one.
"""
