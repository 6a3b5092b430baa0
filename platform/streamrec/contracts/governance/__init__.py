"""Who may decide what on the platform, and the verdict by which a version may serve, as plain types.

What may not go in: reading files, checking tokens, judging.
"""
