"""The distilled ranker that serves: a small student of the teacher's scores. It may know of the teacher only
what `labels.Teacher` says. What serves is NumPy: `model`, `runtime` and `artifact` may not import torch.
"""
