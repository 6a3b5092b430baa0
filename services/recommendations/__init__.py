"""The recommendations spoke: retrieval, ranking, cold start, re-ranking, and the graph that serves them.

What may not go in: anything another spoke would need too (that belongs to the hub).
"""
