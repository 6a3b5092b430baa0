"""Who may decide what on the platform, as plain types.

What may not go in: reading files, checking tokens; `streamrec.access` does.
"""
