"""Small signed documents: sign and verify them, publish them by compare-and-set, follow them by polling.

What may not go in: what a document means. Prices, traffic and plans are parsed by the rooms that own them.
"""
