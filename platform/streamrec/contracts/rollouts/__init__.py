"""What a rollout is made of: its state, the evidence that decides it, and what services count for it.

What may not go in: what decides (`streamrec.rollout`), and how a plan is written
(`specification.rollout_plan`).
"""
