"""Bayesian cold start in the item-embedding space. May not import another stage."""
