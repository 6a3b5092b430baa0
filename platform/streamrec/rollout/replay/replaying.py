"""All past decisions under a changed policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamrec.contracts.results import Result, Verdict
from streamrec.gates.gate_results import gate_of
from streamrec.rollout.replay.again import in_words, replay_rollout
from streamrec.rollout.replay.changed_policy import ChangedGates, ChangedPolicy
from streamrec.rollout.replay.gates import judged_again
from streamrec.rollout.replay.past import PastGate, PastRollout
from streamrec.rollout.replay.replayed import ReplayedDecision, result_of


def replay(
    rollouts: Sequence[PastRollout], gates: Sequence[PastGate], policy: ChangedPolicy
) -> tuple[Result, tuple[ReplayedDecision, ...]]:
    """Make every past decision again under a changed policy.

    Args:
        rollouts: With their whole histories.
        gates: Judgements of gates.
        policy: What is changed.

    Returns:
        The result, and its rows in the order of the ledger.
    """
    later = _later_of_versions(rollouts)
    rows = [row for past in gates for row in _judged(past, policy.gates, later)]
    rows += [row for past in rollouts for row in replay_rollout(past, policy.rollout)]
    rows.sort(key=lambda row: row.seq)
    return result_of(rows, policy.to_json()), tuple(rows)


def _judged(past: PastGate, changed: ChangedGates, later: Mapping[str, str]) -> Iterator[ReplayedDecision]:
    entry = past.entry
    after = later.get(entry.subject, "was never rolled out")
    if past.results is None:
        yield ReplayedDecision(
            seq=entry.seq,
            at=entry.at,
            subject=entry.subject,
            what="gates",
            decided="judged",
            would_be=None,
            reasons=("the ledger did not keep the report of it",),
            later=after,
        )
        return
    for result in past.results:
        verdict, why = judged_again(result, changed)
        yield ReplayedDecision(
            seq=entry.seq,
            at=entry.at,
            subject=entry.subject,
            what=f"gate {gate_of(result).value}",
            decided=result.verdict.value,
            would_be=_word(verdict),
            reasons=(why,) if why else tuple(found.message for found in result.reasons[:1]),
            later=after,
        )


def _word(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.value


def _later_of_versions(rollouts: Sequence[PastRollout]) -> dict[str, str]:
    """How the last rollout of each version ended, or where it stands."""
    found = {}
    for past in rollouts:
        last = past.transitions[-1].state
        for ref in last.challengers:
            found[str(ref)] = f"rollout {past.name}: {in_words(last)}"
    return found
