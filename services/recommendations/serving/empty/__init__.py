"""The graph without models: what Ray and the way between processes cost by themselves.

What may not go in: anything that is served to a user.
"""
