"""Exposure-aware re-ranking. May not import another stage.

What may not go in: relevance models (ranking's), a controller of live traffic; prices come from outside.
"""
