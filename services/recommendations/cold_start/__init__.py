"""Bayesian cold start in the item-embedding space. May not import another stage.

What may not go in: learned item vectors (they belong to retrieval), rules that switch a user over to another
stage.
"""
