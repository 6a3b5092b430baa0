"""Frozen types, the formats that every room shares, and the error tree.

Documents are checked by pydantic and get their canonical form from rfc8785. What may not go in: I/O (but for
the tool that writes the schemas), other vendors, statistics, anything that knows one spoke from another.
"""
