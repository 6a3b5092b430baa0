"""The one path of a request through the stages, for serving and for evaluation alike.

What may not go in: HTTP, Ray, the event log, training.
"""
