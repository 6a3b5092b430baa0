"""What the gates judge the stages by: specifications, evaluation requests, predictors, features as trained.

What may not go in: training, Ray, and any decision; the gates decide.
"""
