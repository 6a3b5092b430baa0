"""How a program that is not trusted is run: limits, no network, no files but its own, no other process.

What may not go in: what the programs do. Modules that the isolated process imports before it has isolated
itself use the standard library alone.
"""
