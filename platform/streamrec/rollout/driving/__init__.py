"""What the controller of rollouts is made of: how it writes down what it does, and how traffic follows.

What may not go in: what decides (`streamrec.rollout.step`, `requests`, `analysis`), which is pure.
"""
