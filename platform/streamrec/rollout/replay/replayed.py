"""Rows and result of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from streamrec.contracts.results import MAXIMUM_MESSAGE_CHARACTERS, Reason, Result, Verdict

REPLAY_SCHEMA: Final = "streamrec.policy_replay.v1"
"""Of the result: `replay`."""

_NAMED: Final = 50
"""Flips that a reason is written for; the rows have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDecision:
    """One past decision.

    Attributes:
        seq: Of its entry in the ledger.
        at: When it was decided.
        subject: The rollout, or the version.
        what: What was decided about: where the rollout stood, or the gate.
        decided: How.
        would_be: How the changed policy decides by the same evidence; None where that is unknown.
        reasons: Why, or why it is unknown.
        later: What happened to the rollout, or the version, in the end.
    """

    seq: int
    at: datetime
    subject: str
    what: str
    decided: str
    would_be: str | None
    reasons: tuple[str, ...]
    later: str

    @property
    def flips(self) -> bool:
        """Whether the changed policy decides otherwise."""
        return self.would_be is not None and self.would_be != self.decided

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "seq": self.seq,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "subject": self.subject,
            "what": self.what,
            "decided": self.decided,
            "would_be": "unknown" if self.would_be is None else self.would_be,
            "flips": None if self.would_be is None else self.flips,
            "reasons": list(self.reasons),
            "later": self.later,
        }


def unknown(row: ReplayedDecision, why: str) -> ReplayedDecision:
    """The same decision, of which nobody can say how it would have gone."""
    return replace(row, would_be=None, reasons=(why,))


def result_of(rows: Sequence[ReplayedDecision], policy: Mapping[str, Any]) -> Result:
    """What a replay found.

    Args:
        rows: All decisions, in the order of the ledger.
        policy: The changed policy, plain JSON values.

    Returns:
        ``passed`` where at least one decision could be made again; each that would flip is a reason of the
        code ``would_flip``. ``inconclusive`` where none could.
    """
    flips = [row for row in rows if row.flips]
    lost = [row for row in rows if row.would_be is None]
    reasons = [_reason("would_flip", f"decisions.{rows.index(row)}", _flip(row)) for row in flips[:_NAMED]]
    if len(flips) > _NAMED:
        reasons.append(
            _reason("would_flip", "decisions", f"and {len(flips) - _NAMED} more; the rows have all of them")
        )
    if lost:
        reasons.append(
            _reason(
                "unknown",
                "decisions",
                f"of {len(lost)} of {len(rows)} decisions it is unknown: the rows say why",
            )
        )
    if not rows:
        reasons.append(_reason("nothing_decided", "decisions", "the range has no decision to make again"))
    verdict = Verdict.PASSED if len(lost) < len(rows) else Verdict.INCONCLUSIVE
    content = {
        "policy": dict(policy),
        "counts": {
            "decisions": len(rows),
            "same": len(rows) - len(flips) - len(lost),
            "flips": len(flips),
            "unknown": len(lost),
        },
        "decisions": [row.to_json() for row in rows],
    }
    return Result(REPLAY_SCHEMA, verdict, tuple(reasons), content)


def _flip(row: ReplayedDecision) -> str:
    why = f" ({'; '.join(row.reasons)})" if row.reasons else ""
    return f"{row.subject}, {row.what}: was {row.decided}, would be {row.would_be}{why}; later: {row.later}"


def _reason(code: str, path: str, message: str) -> Reason:
    return Reason(code, path, " ".join(message.split())[:MAXIMUM_MESSAGE_CHARACTERS])
