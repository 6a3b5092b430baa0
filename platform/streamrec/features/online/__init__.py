"""Reading a user's row within a request: without making an event loop wait, and within a bound of time.

What may not go in: writes, and anything that reads many rows.
"""
