"""What a command runs from beginning to end: training, evaluation, the closed loop, the choice of an index.

What may not go in: options and tables (`commands`), measurements and models (the rooms below).
"""
