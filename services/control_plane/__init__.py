"""The platform over HTTP, and the loop that drives rollouts.

What may not go in: decisions. Routes find out who asks, hand over to the hub, and write down what it answers.
"""
