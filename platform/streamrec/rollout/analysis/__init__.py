"""What the evidence of a rollout says: pure, from counts and sums to findings and a verdict.

What may not go in: what a rollout does about it (`streamrec.rollout.step`), clocks, files, logs.
"""

from streamrec.rollout.analysis.analyse import analyse
from streamrec.rollout.analysis.findings import Analysis, ComparedWith, Criterion, Finding

__all__ = ["Analysis", "ComparedWith", "Criterion", "Finding", "analyse"]
