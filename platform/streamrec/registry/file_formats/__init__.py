"""Which files an artifact may hold: each format is read here without running anything that is in it.

What may not go in: where artifacts are kept, and who registered them.
"""
