"""Model versions, aliases and artifacts: the one place that knows MLflow.

What may not go in: gates, rollouts, anything that decides which version serves.
"""
