"""What the stages hand to each other, the ports they answer behind, and their names.

What may not go in: a model, a file, anything that computes.
"""
