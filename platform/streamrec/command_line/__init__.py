"""What the commands of the hub and of every spoke share: the workspace and its parts, progress, tables.

What may not go in: a command, or anything that only one spoke knows.
"""
