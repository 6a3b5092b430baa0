"""Data folders in the neutral format: import, validate, quarantine, read, fingerprint.

What may not go in: models, features, anything that writes to an online store.
"""
