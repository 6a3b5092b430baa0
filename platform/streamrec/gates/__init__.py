"""The checks that a version passes before it gets traffic: pure decisions over evidence collected apart.

What may not go in: traffic, aliases, signatures, overrides, or anything else that acts on a verdict; and no
model is loaded in the process that judges it.
"""
