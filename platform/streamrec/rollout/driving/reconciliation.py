"""Makes the traffic document say what the states of the rollouts say. It never waits.

What should serve follows from the states alone, so whoever died in between left nothing that the next one
has to know. Champions change only where the replicas have loaded the new ones: until then a revision names
them in ``prepare``, and the next look goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ArtifactError, NotFoundError
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import ReplicaHeartbeat, Traffic
from streamrec.ledger.ledger import Ledger
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.signed_versions import SignedVersions, publish_versions
from streamrec.rollout.book import PlacedState
from streamrec.rollout.desired_traffic import Desired, desired, needed_versions
from streamrec.rollout.driving.traffic_document import TrafficDocument, flip
from streamrec.rollout.observation import heard_of
from streamrec.rollout.told_changes import ROLLOUT_CONTROLLER, By, take_back_what_never_came
from streamrec.rollout.traffic_changes import Change, DependsOn, champions
from streamrec.rollout.traffic_history import REASON_MAXIMUM_CHARACTERS, ChangeKind, read_changes

_LOG = logging.getLogger(__name__)

ROLLBACK_PATIENCE: Final = timedelta(seconds=60)
"""Longest wait for the last replica before a rollback goes ahead, where another one of each slot is ready."""

_LOCK_TIMEOUT_S: Final = 0.5
_MAXIMUM_ROUNDS: Final = 16


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a look at the document came to.

    Attributes:
        revision: In force now; 0 where there is no document.
        traffic: In force now.
        published: Whether it was changed.
        waits_for: Why it does not yet say what it should; empty where it does.
    """

    revision: int
    traffic: Traffic | None
    published: bool
    waits_for: tuple[str, ...]


@dataclass(frozen=True)
class TrafficReconciler:
    """Brings the document to what the states say.

    Attributes:
        document: The traffic document.
        keys: Folder of the key that signs.
        registry: Where versions are that were not published yet.
        ledger: Hears of every change of champions first.
        clock: Now.
        known_dependencies: What each version needs; a version never changes.
    """

    document: TrafficDocument
    keys: Path
    registry: ModelRegistry
    ledger: Ledger
    clock: Callable[[], datetime]
    known_dependencies: dict[ModelRef, Mapping[str, ModelRef]]

    def reconcile(self, placed: Sequence[PlacedState], heartbeats: Sequence[ReplicaHeartbeat]) -> Reconciled:
        """Publish what is missing.

        Args:
            placed: The states that decide, the one that moved last at the end.
            heartbeats: The last of each replica.

        Raises:
            InvalidInputError: What should serve does not fit together.
            ArtifactError, NotFoundError, NotReadyError: A version cannot be published, or the document, its
                history or the ledger is damaged; what served before serves.
            TemporaryError: Somebody else is changing the document, or it, the ledger or the registry does not
                answer.
        """
        is_published = False
        with self.document.changing(_LOCK_TIMEOUT_S):
            for _ in range(_MAXIMUM_ROUNDS):
                published = self.document.published()
                now = None if published is None else published.value
                revision = 0 if published is None else published.revision
                target, mover = self._target(now, placed, heartbeats)
                if target.is_said_by(now):
                    return Reconciled(
                        revision, now, is_published, _waits_for(now, placed, heartbeats, self.clock())
                    )
                self._publish_versions(target)
                if mover is None or not _moving(now, target):
                    self.document.publish(target.slots, target.prepare, revision)
                else:
                    self._flip(now, revision, target, mover)
                is_published = True
        raise AssertionError("what should serve does not come to rest: two states contradict each other")

    def dependencies(self, refs: Collection[ModelRef]) -> DependsOn:
        """What versions need, from their signed documents where they have one, else from the registry.

        Raises:
            NotFoundError: There is no such version.
            TemporaryError: Neither says it.
        """
        for ref in refs:
            if ref not in self.known_dependencies:
                self.known_dependencies[ref] = self._read_dependencies(ref)
        return {ref: self.known_dependencies[ref] for ref in refs}

    def _read_dependencies(self, ref: ModelRef) -> Mapping[str, ModelRef]:
        try:
            return self._versions().get(ref).depends_on
        except (ArtifactError, NotFoundError):
            return self.registry.get(ref).depends_on

    def _versions(self) -> SignedVersions:
        return SignedVersions(self.document.files.versions, self.document.files.public_keys)

    def _target(
        self, now: Traffic | None, placed: Sequence[PlacedState], heartbeats: Sequence[ReplicaHeartbeat]
    ) -> tuple[Desired, RolloutState | None]:
        """What the next revision says, and the rollout whose champions change in it: of one at a time."""
        states = [one.state for one in placed]
        moves = [move for state in states for move in state.moves]
        depends_on = self.dependencies(needed_versions(now, moves))
        loaded = _loaded(placed, heartbeats, self.clock())
        wanted = desired(now, states, depends_on=depends_on, loaded=loaded, now=self.clock())
        owners = {slot: state for state in states for slot in state.slots}
        moving = sorted(_moving(now, wanted))
        if not moving:
            return wanted, None
        mover = owners[moving[0]]
        others = {slot for name in moving if owners[name] is not mover for slot in owners[name].slots}
        if not others:
            return wanted, mover
        loaded |= dict.fromkeys(others - set(mover.slots), ())
        return desired(now, states, depends_on=depends_on, loaded=loaded, now=self.clock()), mover

    def _publish_versions(self, target: Desired) -> None:
        """A replica finds a version by its signed document: it is there before the version is named."""
        versions = self._versions()
        named = {ref for slot in target.slots.values() for ref in (slot.champion, slot.challenger)}
        for ref in sorted((ref for ref in {*named, *target.prepare} if ref is not None), key=str):
            try:
                versions.get(ref)
            except NotFoundError:
                publish_versions(self.registry, ref, self.document.files.versions, self.keys)
            except ArtifactError as error:
                # Replicas that have it go on; it is not for the document to take a slot down.
                _LOG.warning("%s is named, and no replica loads it anew: %s", ref, error)

    def _flip(self, now: Traffic | None, revision: int, target: Desired, state: RolloutState) -> None:
        take_back_what_never_came(self.ledger, champions(now), revision)
        change = _change(now, target, state)
        if change.kind is ChangeKind.ROLLED_BACK:
            change = replace(change, undoes=self._undone(change, revision))
        why = f"rollout {state.rollout}, {state.phase.value}, asked for by {state.by}"
        reason = f"{why}: {state.reason}" if state.reason else why
        by = By(ROLLOUT_CONTROLLER, ActorRole.PLATFORM, reason[:REASON_MAXIMUM_CHARACTERS])
        flipped = flip(self.document, self.ledger, change, revision, by, self.clock, target.prepare)
        _LOG.info("traffic revision %d: %s", flipped, {k: str(v) for k, v in change.after.items()})

    def _undone(self, change: Change, revision: int) -> int | None:
        """Revision of the promotion that a rollback undoes; None where it is none that is remembered."""
        history = read_changes(self.document.files.history, up_to=revision)
        return next(
            (
                one.revision
                for one in reversed(history)
                if one.kind is ChangeKind.PROMOTED
                and any(one.after.get(slot) == ref for slot, ref in change.before.items())
            ),
            None,
        )


def _moving(now: Traffic | None, wanted: Desired) -> set[str]:
    """Slots whose champions change, those that are filled or emptied too."""
    before, after = champions(now), {name: slot.champion for name, slot in wanted.slots.items()}
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def _change(now: Traffic | None, wanted: Desired, state: RolloutState) -> Change:
    before, moving = champions(now), sorted(_moving(now, wanted))
    after = {name: wanted.slots[name].champion for name in moving if name in wanted.slots}
    forward = all(after.get(move.slot) == move.challenger for move in state.moves if move.slot in moving)
    kind = ChangeKind.PROMOTED if forward else ChangeKind.ROLLED_BACK
    return Change(kind, wanted.slots, {name: before[name] for name in moving if name in before}, after)


def _loaded(
    placed: Sequence[PlacedState], heartbeats: Sequence[ReplicaHeartbeat], now: datetime
) -> dict[str, Collection[ModelRef]]:
    """By slot, what every replica of its champion can answer with; slots without replicas are left out."""
    loaded: dict[str, Collection[ModelRef]] = {}
    for one in placed:
        for move in one.state.moves:
            heard = _of_champion(move.slot, heartbeats, now)
            if not heard:
                continue
            has = set.intersection(*({*beat.loaded} for beat in heard))
            goes_back = one.state.phase.is_over and now - one.at >= ROLLBACK_PATIENCE
            if goes_back and any(move.champion in beat.loaded for beat in heard):
                has |= {ref for ref in (move.champion,) if ref is not None}  # the last one is not waited for
            loaded[move.slot] = has
    return loaded


def _of_champion(
    slot: str, heartbeats: Sequence[ReplicaHeartbeat], now: datetime
) -> Sequence[ReplicaHeartbeat]:
    return [beat for beat in heard_of(slot, heartbeats, now) if beat.role is not ServingRole.CHALLENGER]


def _waits_for(
    traffic: Traffic | None,
    placed: Sequence[PlacedState],
    heartbeats: Sequence[ReplicaHeartbeat],
    now: datetime,
) -> tuple[str, ...]:
    """Which replicas keep champions from changing, in words."""
    serving = champions(traffic)
    found = []
    for one in placed:
        forward = one.state.phase in (RolloutPhase.WATCH, RolloutPhase.COMPLETED)
        if not forward and not one.state.phase.is_over:
            continue
        for move in one.state.moves:
            wanted = move.challenger if forward else move.champion
            if wanted is None or serving.get(move.slot) == wanted:
                continue
            for beat in _of_champion(move.slot, heartbeats, now):
                if wanted not in beat.loaded:
                    why = f": {beat.problem}" if beat.problem else ""
                    replica = f"replica {beat.replica} of {move.slot}"
                    found.append(f"{one.state.rollout}: {replica} has not loaded {wanted}{why}")
    return tuple(found)
