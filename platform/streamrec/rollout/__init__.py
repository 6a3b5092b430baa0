"""Which versions serve: the traffic document, what changes it, and what the replicas say of it.

What may not go in: how a model is loaded or asked (`streamrec.serving`), and what a model is.
"""
