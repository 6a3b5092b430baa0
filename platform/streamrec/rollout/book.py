"""The rollouts as the ledger tells them: where each stands, and the one way to bring it further.

Each transition is an entry about the rollout whose evidence holds the state after it. So the newest entry
says where a rollout stands, and a transition is appended only if nobody has appended another one meanwhile:
of two who have read the same, one wins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streamrec.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.ledger.ledger import Ledger, UnlessNewer
from streamrec.rollout.driving.transitions import (
    TRANSITIONS,
    RecordedTransition,
    Transition,
    entry_of,
    evidence_of,
    recorded_transition,
    state_of,
)
from streamrec.rollout.told_changes import DIRECT_WRITER, ROLLOUT_CONTROLLER, By

MAXIMUM_PAGE: Final = 200
"""Rollouts that are listed at once."""

MAXIMUM_HISTORY: Final = 1_000
"""Transitions of one rollout that are read; the newest."""

MAXIMUM_LOOKED_AT: Final = 1_000
"""Rollouts that are over and looked at to find the last one of a slot."""

_ENDS: Final = frozenset(
    {
        EntryKind.ROLLOUT_ABORTED,
        EntryKind.ROLLOUT_ROLLED_BACK,
        EntryKind.ROLLOUT_COMPLETED,
    }
)
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class PlacedState:
    """Where a rollout stands, and by which entry.

    Attributes:
        state: Where.
        seq: Number of the entry.
        at: When it was appended.
    """

    state: RolloutState
    seq: int
    at: datetime


class RolloutBook:
    """Reads rollouts from a ledger and appends their transitions. Safe to use from several threads.

    Entries are read once: a look at a long ledger costs what is new in it.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Nothing is read yet."""
        self._ledger = ledger
        self._lock = threading.RLock()
        self._seq = 0
        self._newest: dict[str, LedgerEntry] = {}
        self._states: dict[str, PlacedState] = {}
        self._direct: dict[str, int] = {}
        self._holdbacks_ended: set[str] = set()

    def active(self) -> Sequence[RolloutState]:
        """Those that are not over, the one that moved last at the end.

        Raises:
            ArtifactError: An entry, or its evidence, was changed or is none of a rollout.
            TemporaryError: The ledger cannot be read.
        """
        with self._lock:
            self._refresh()
            found = [self._placed(name) for name, entry in self._newest.items() if entry.kind not in _ENDS]
        return [placed.state for placed in sorted(found, key=lambda placed: placed.seq)]

    def get(self, name: str) -> RolloutState:
        """Where one stands.

        Raises:
            NotFoundError: There is no such rollout.
            ArtifactError, TemporaryError: As in `active`.
        """
        return self.placed(name).state

    def placed(self, name: str) -> PlacedState:
        """Where one stands, and by which entry. Raises as `get`."""
        with self._lock:
            self._refresh()
            if name not in self._newest:
                raise NotFoundError(f"there is no rollout {name!r}")
            return self._placed(name)

    def deciding(self) -> Sequence[PlacedState]:
        """The states that say what should serve, the one that moved last at the end.

        These are the active ones, and of each slot the last one that is over, unless a promotion that was
        made without a rollout came after it: that one counts then. Where the last one did not succeed, also
        the completed one that made what serves champion: what it would go back to stays loaded.

        Raises:
            ArtifactError, TemporaryError: As in `active`.
        """
        with self._lock:
            self._refresh()
            found = {
                name: self._placed(name) for name, entry in self._newest.items() if entry.kind not in _ENDS
            }
            # What serves by each slot's last rollout, or served before it began; and slots that are settled.
            serves = {move.slot: move.champion for placed in found.values() for move in placed.state.moves}
            settled: set[str] = set()
            for placed in self._over():
                mine = {move.slot: move for move in placed.state.moves}
                completed = placed.state.phase is RolloutPhase.COMPLETED
                fits = all(
                    serves.get(name, move.challenger) == move.challenger for name, move in mine.items()
                )
                decides = not mine.keys() & serves.keys() or (completed and fits)
                is_last = all(self._direct.get(slot, 0) < placed.seq for slot in mine)
                if decides and is_last and not mine.keys() & settled:
                    found[placed.state.rollout] = placed
                for name, move in mine.items():
                    serves.setdefault(name, move.challenger if completed else move.champion)
                    # Past those that did not succeed, the one that did is looked for, and no further.
                    if completed or move.champion is None or serves[name] != move.champion:
                        settled.add(name)
        return sorted(found.values(), key=lambda placed: placed.seq)

    def holding(self, slot: str) -> RolloutState | None:
        """The active rollout that holds a slot; None where none does. Raises as `active`."""
        return next((state for state in self.active() if slot in state.slots), None)

    def last_completed(self, slot: str, champion: str) -> RolloutState | None:
        """The rollout that made ``champion`` what serves in a slot, if one did and it is over.

        None also where the version was made champion again since, without a rollout.

        Raises:
            ArtifactError, TemporaryError: As in `active`.
        """
        with self._lock:
            self._refresh()
            for placed in self._over():
                if placed.state.phase is not RolloutPhase.COMPLETED:
                    continue
                move = next((move for move in placed.state.moves if move.slot == slot), None)
                if move is not None and str(move.challenger) == champion:
                    return placed.state if self._direct.get(slot, 0) < placed.seq else None
        return None

    def holdback_has_ended(self, name: str) -> bool:
        """Whether the ledger says that the holdback of a rollout is over. Raises as `active`."""
        with self._lock:
            self._refresh()
            return name in self._holdbacks_ended

    def list(self, after: str | None = None, limit: int = 50) -> Sequence[RolloutState]:
        """Rollouts, the newest first by the time of their last transition.

        Args:
            after: Name of the last one of the page before; None: from the newest on.
            limit: At most so many, up to `MAXIMUM_PAGE`.

        Raises:
            InvalidInputError: The limit is none.
            NotFoundError: There is no rollout ``after``.
            ArtifactError, TemporaryError: As in `active`.
        """
        if not 1 <= limit <= MAXIMUM_PAGE:
            raise InvalidInputError("limit", f"must be 1 to {MAXIMUM_PAGE}")
        with self._lock:
            self._refresh()
            names = sorted(self._newest, key=lambda name: -self._newest[name].seq)
            if after is not None:
                if after not in self._newest:
                    raise NotFoundError(f"there is no rollout {after!r}")
                names = names[names.index(after) + 1 :]
            return [self._placed(name).state for name in names[:limit]]

    def history(self, name: str, *, after_seq: int = 0) -> Sequence[RecordedTransition]:
        """The transitions of one rollout, oldest first; of more than `MAXIMUM_HISTORY` the newest.

        Args:
            name: Which rollout.
            after_seq: Only entries with a higher number.

        Raises:
            NotFoundError: There is no such rollout.
            ArtifactError, TemporaryError: As in `active`.
        """
        self.placed(name)
        newest = self._ledger.entries(
            kinds=TRANSITIONS, subject=name, after_seq=after_seq, newest_first=True, limit=MAXIMUM_HISTORY
        )
        return [recorded_transition(self._ledger, entry) for entry in tuple(newest)[::-1]]

    def append(
        self,
        before: RolloutState | None,
        decision: Transition,
        *,
        by: By | None = None,
        evidence: RolloutEvidence | None = None,
        request: str | None = None,
    ) -> RolloutState:
        """Bring a rollout further, if it still stands where whoever decided saw it; or start one.

        Args:
            before: The state that was decided on; None where the rollout starts.
            decision: What was decided.
            by: Who; None: the controller.
            evidence: What was looked at.
            request: What somebody asked for.

        Returns:
            The state afterwards.

        Raises:
            ConflictError: Somebody else has moved the rollout, another one holds a slot of a rollout that
                starts or comes back, or the name is taken. Nothing was appended.
            InvalidInputError: A field is out of bounds.
            TemporaryError: The ledger cannot be read or written; nothing was decided.
            ArtifactError: As in `active`.
        """
        state = decision.state
        entry = entry_of(decision, by, evidence, request)
        for attempt in range(_TRIES):
            with self._lock:
                self._refresh()
                self._check(before, decision)
                condition = UnlessNewer(TRANSITIONS | {EntryKind.TRAFFIC_CHANGED}, self._seq)
                try:
                    self._ledger.append_all((entry,), unless_newer=condition)
                except ConflictError:
                    # It may have been about another rollout: then this one has not moved, and is tried again.
                    if attempt == _TRIES - 1:
                        raise
                    continue
                self._refresh()
                return state
        raise AssertionError("unreachable")

    def _check(self, before: RolloutState | None, decision: Transition) -> None:
        after = decision.state
        name = after.rollout
        found = self._newest.get(name)
        if before is None:
            if found is not None:
                raise ConflictError(f"a rollout {name} was started already: choose another name")
        elif found is None:
            raise NotFoundError(f"there is no rollout {name!r}")
        else:
            now = self._placed(name).state
            if now.number != before.number:
                raise ConflictError(
                    f"{name} is {now.phase.value} by now, by its transition {now.number}: "
                    "see what it does and decide again"
                )
        ends = after.phase.is_over and before is not None and not before.phase.is_over
        if ends or decision.kind is EntryKind.HOLDBACK_ENDED:
            return
        for other in self.active():
            shared = sorted(set(other.slots) & set(after.slots))
            if shared and other.rollout != name:
                raise ConflictError(
                    f"{', '.join(shared)} is held by the rollout {other.rollout}, which is "
                    f"{other.phase.value}: wait until it is over, or abort it first"
                )

    def _refresh(self) -> None:
        kinds = TRANSITIONS | {EntryKind.TRAFFIC_CHANGED}
        for entry in self._ledger.entries(kinds=kinds, after_seq=self._seq):
            if entry.kind is EntryKind.TRAFFIC_CHANGED:
                if entry.actor not in (ROLLOUT_CONTROLLER, DIRECT_WRITER):
                    self._direct[entry.subject] = entry.seq
            elif entry.kind is EntryKind.HOLDBACK_ENDED:
                self._holdbacks_ended.add(entry.subject)  # the rollout itself stands where it stood
            else:
                self._newest[entry.subject] = entry
                self._states.pop(entry.subject, None)
            self._seq = entry.seq

    def _over(self) -> Iterator[PlacedState]:
        """Those that are over, the last one first; each is read when it is looked at."""
        over = sorted(
            (entry for entry in self._newest.values() if entry.kind in _ENDS), key=lambda entry: -entry.seq
        )
        return (self._placed(entry.subject) for entry in over[:MAXIMUM_LOOKED_AT])

    def _placed(self, name: str) -> PlacedState:
        placed = self._states.get(name)
        if placed is None:
            entry = self._newest[name]
            placed = PlacedState(state_of(entry, evidence_of(self._ledger, entry)), entry.seq, entry.at)
            self._states[name] = placed
        return placed
