"""The quality gate: the figures, what is collected, and the decision.

What may not go in: another gate's evidence, or a model; it reads predictions tables.
"""
