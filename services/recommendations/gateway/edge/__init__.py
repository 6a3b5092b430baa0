"""What HTTP asks for before and after an answer: bodies, methods, problem documents, the API page.

Nothing here knows what is recommended.
"""
