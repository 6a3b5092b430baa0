"""Frozen types and the error tree that every room shares.

What may not go in: I/O, vendors, arithmetic, anything that knows one spoke from another.
"""
