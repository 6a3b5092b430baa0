"""Metrics that replicas expose, and what is computed from them.

What may not go in: anything a request waits for beyond incrementing a counter.
"""
