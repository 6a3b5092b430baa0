"""Business metrics, defined once and computed from the event log: for rollouts, monitors and experiments.

What may not go in: a decision about what a figure means for a version, where a workspace keeps its files.
"""
