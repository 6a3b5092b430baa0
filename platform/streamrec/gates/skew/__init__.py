"""The skew gate: features as served beside the same as trained, the replayed metric, and the decision.

What may not go in: another gate's evidence, or a model; it asks for answers through a function.
"""
