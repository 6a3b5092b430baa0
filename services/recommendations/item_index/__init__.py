"""The vector index: how it is built and searched, and how its kind is chosen by measurement.

What may not go in: what the vectors mean; the retriever and cold start search their own.
"""
