"""The only room that knows Ray: the deployments, the application, and the service on one machine.

What may not go in: anything that could answer without Ray.
"""
