"""Durable and atomic operations on files and folders, and locks between processes.

What may not go in: a file format, a path of the workspace, anything that knows what a file is for.
"""
