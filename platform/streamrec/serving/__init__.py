"""What a replica does, without Ray: model slots, deadlines, the fallback ladder, caches, retry budgets.

What may not go in: Ray, HTTP frameworks, training, gates.
"""
