"""What a process counts of the answers of each version, and writes down for whoever decides rollouts.

What may not go in: what decides them, and metrics for people (`streamrec.monitoring`).
"""
