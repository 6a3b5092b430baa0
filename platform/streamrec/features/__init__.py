"""Features: tables built from a dataset, online reads and writes, point-in-time training frames.

What may not go in: models; any definition of a feature that Feast does not also know.
"""
