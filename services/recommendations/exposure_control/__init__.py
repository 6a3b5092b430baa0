"""Holding the exposure target while traffic shifts: reads impressions, publishes prices, outside requests.

What may not go in: anything on the request path but reading a price document; models, and what they are
fitted with.
"""
