"""The report of all gates for people.

What may not go in: figures that the report for programs does not have.
"""
