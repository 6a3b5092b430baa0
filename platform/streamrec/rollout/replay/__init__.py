"""Past decisions under a changed policy: which would have been others, beside what happened later. Pure.

What may not go in: reading a ledger beyond `past.py`, and what decides (`streamrec.rollout.step`,
`streamrec.gates`): decisions are made again by the same functions, or by what they have kept.
"""

from streamrec.rollout.replay.changed_policy import ChangedPolicy
from streamrec.rollout.replay.past import PastGate, PastRollout, read_past_gates, read_past_rollouts
from streamrec.rollout.replay.replayed import ReplayedDecision
from streamrec.rollout.replay.replaying import replay

__all__ = [
    "ChangedPolicy",
    "PastGate",
    "PastRollout",
    "ReplayedDecision",
    "read_past_gates",
    "read_past_rollouts",
    "replay",
]
