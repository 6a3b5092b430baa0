"""The spoke's part of the command line: options in, tables and files out.

What may not go in: anything that a program other than the terminal would need.
"""
