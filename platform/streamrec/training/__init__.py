"""Splits, ranking metrics, baselines and shared training loops.

What may not go in: serving, registries, one spoke's models.
"""
