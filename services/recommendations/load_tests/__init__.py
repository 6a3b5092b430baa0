"""Load tests: a workspace of any size without training, requests that wait for nobody, and what is compared.

What may not go in: Ray, and anything that a service needs.
"""
