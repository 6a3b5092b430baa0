"""What a spoke says about a model in its ``model.yaml``: what it is for, how it is judged and rolled out.

What may not go in: anything that judges; a policy here is data, and `streamrec.gates` decides by it.
"""
