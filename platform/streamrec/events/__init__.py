"""The event log: write, read, deduplicate, join outcomes to impressions.

What may not go in: features, metrics, anything that interprets an event.
"""
