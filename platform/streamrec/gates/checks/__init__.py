"""The gates about a version by itself: its files, what it is judged on, what it takes to serve.

What may not go in: how good its answers are, and for whom.
"""
