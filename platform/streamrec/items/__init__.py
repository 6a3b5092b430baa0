"""The item log: what was put into the catalogue and removed from it, in order, and following it.

What may not go in: a model or its index, features, an importer, anything that decides what is shown.
"""
