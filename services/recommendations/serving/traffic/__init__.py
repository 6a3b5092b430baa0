"""How the gateway follows the traffic document: who answers a unit, and which challengers need replicas.

What may not go in: what a replica does about the document (`streamrec.serving`).
"""
