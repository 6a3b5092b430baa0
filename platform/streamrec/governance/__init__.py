"""Which versions may serve, and who said so: deployments, reviews, overrides, remediation plans, break-glass.

What may not go in: measuring anything (gates do); changing traffic (the rollout room does); state of its own:
all of it is derived from the ledger and the signed verdicts.
"""
