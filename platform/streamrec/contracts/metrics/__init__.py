"""What a business metric is: the types that `metrics.yaml` is read into.

What may not go in: how a metric is computed, where events lie, which metrics there are.
"""
