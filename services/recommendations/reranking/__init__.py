"""Exposure-aware re-ranking. May not import another stage."""
