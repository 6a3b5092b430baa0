"""Who may use a service, and how much of it: the callers file, following it, telling callers apart, limits.

What may not go in: HTTP frameworks, Ray, metrics, what any service answers.
"""
