"""The main job: data, features, models, evaluation, a real server, traffic, and a report of all of it.

What may not go in: anything that a production process needs.
"""
