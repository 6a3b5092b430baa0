"""The fairness gate and audits: figures of groups of people, the decision over their differences, mitigation.

What may not go in: overrides and whatever else acts on a verdict; how a report looks.
"""
