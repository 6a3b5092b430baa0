"""Removing a person from everything that a workspace keeps, and keeping the person out.

What may not go in: what a store is for. A store says here how a person is found in it and removed.
"""
