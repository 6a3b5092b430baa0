"""What every stage's training is given and checks first: input, histories, content features.

What may not go in: a model or the training of one stage.
"""
