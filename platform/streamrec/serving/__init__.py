"""What a replica does, without Ray: model slots, deadlines, caches, retry budgets.

What may not go in: Ray, HTTP frameworks, training, gates.
"""
