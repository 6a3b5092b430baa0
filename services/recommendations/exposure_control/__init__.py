"""Holding the exposure target while traffic shifts: reads impressions, publishes prices, outside requests.

An exposure price is the bonus that an item's score gets for its creator's language.

What may not go in: anything on the request path but reading a price document; models, and what they are
fitted with.
"""
