"""The order-aware ranker. May not import another stage."""
