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
from typing import Final, Protocol

from streamrec.contracts.errors import ArtifactError, NotFoundError
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import ReplicaHeartbeat, SlotTraffic, Traffic
from streamrec.contracts.units import BASIS_POINTS
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.ledger.ledger import Ledger
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.signed_versions import SignedVersions, publish_versions
from streamrec.rollout.book import PlacedState
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


class DesiredTraffic(Protocol):
    """What should be in the document; a `streamrec.rollout.desired_traffic.Desired`."""

    @property
    def slots(self) -> Mapping[str, SlotTraffic]:
        """All slots, by name."""
        ...

    @property
    def prepare(self) -> Sequence[ModelRef]:
        """What is loaded beside what they name."""
        ...


class DesiredRule(Protocol):
    """The pure function that says what should serve: `streamrec.rollout.desired_traffic.desired`."""

    def __call__(
        self,
        traffic: Traffic | None,
        states: Sequence[RolloutState],
        holdbacks: Collection[str],
        depends_on: DependsOn,
    ) -> DesiredTraffic:
        """What should serve, given what does.

        Args:
            traffic: In force; None before the first.
            states: Those that decide, the one that moved last at the end.
            holdbacks: Slots whose holdback is over.
            depends_on: Of every version that is named.
        """
        ...


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
        desired: What should serve.
        clock: Now.
        known_dependencies: What each version needs; a version never changes.
    """

    document: TrafficDocument
    keys: Path
    registry: ModelRegistry
    ledger: Ledger
    desired: DesiredRule
    clock: Callable[[], datetime]
    known_dependencies: dict[ModelRef, Mapping[str, ModelRef]]

    def reconcile(
        self,
        placed: Sequence[PlacedState],
        ended_holdbacks: Collection[str],
        heartbeats: Sequence[ReplicaHeartbeat],
    ) -> Reconciled:
        """Publish what is missing.

        Args:
            placed: The states that decide.
            ended_holdbacks: Slots whose holdback is over.
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
                target = self._target(now, placed, ended_holdbacks, heartbeats)
                if not target.change.after and not target.change.before:
                    if _is_there(now, target.change.slots, target.prepare):
                        return Reconciled(revision, now, is_published, target.waits_for)
                    self._publish_versions(target.change.slots, target.prepare)
                    self.document.publish(target.change.slots, target.prepare, revision)
                else:
                    self._flip(published, target)
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
        self,
        now: Traffic | None,
        placed: Sequence[PlacedState],
        ended_holdbacks: Collection[str],
        heartbeats: Sequence[ReplicaHeartbeat],
    ) -> _Target:
        states = [one.state for one in placed]
        refs = set(champions(now).values())
        for state in states:
            for move in state.moves:
                refs |= {move.challenger} | ({move.champion} if move.champion is not None else set())
        wanted = self.desired(now, states, ended_holdbacks, self.dependencies(refs))
        before = champions(now)
        after = {name: slot.champion for name, slot in wanted.slots.items()}
        moving = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        slots, prepare = dict(wanted.slots), list(wanted.prepare)
        waits_for: list[str] = []
        flips: tuple[PlacedState, frozenset[str]] | None = None
        for one in placed:
            mine = frozenset(moving & set(one.state.slots))
            moving -= mine
            if not mine:
                continue
            missing = self._missing(one, {name: after[name] for name in mine if name in after}, heartbeats)
            if not missing and flips is None:
                flips = (one, mine)
                continue
            waits_for += missing
            prepare += [after[name] for name in sorted(mine) if name in after]
            for name in one.state.slots:
                _keep(slots, name, None if now is None else now.slots.get(name), one.state)
        prepare = list(dict.fromkeys(prepare))
        if moving:
            raise AssertionError(f"no rollout says why the champions of {', '.join(sorted(moving))} change")
        if flips is None:
            nothing = Change(ChangeKind.PROMOTED, slots, {}, {})
            return _Target(nothing, prepare, tuple(waits_for), None)
        return _Target(
            _change(flips[0].state, slots, before, after, flips[1]), prepare, tuple(waits_for), flips[0].state
        )

    def _missing(
        self, placed: PlacedState, after: Mapping[str, ModelRef], heartbeats: Sequence[ReplicaHeartbeat]
    ) -> list[str]:
        """Replicas that have not loaded what they are to answer with, in words."""
        now, missing, ready = self.clock(), [], set()
        for slot, ref in after.items():
            for beat in heard_of(slot, heartbeats, now):
                if beat.role is ServingRole.CHALLENGER:
                    continue
                if ref in beat.loaded:
                    ready.add(slot)
                else:
                    why = f": {beat.problem}" if beat.problem else ""
                    missing.append(f"replica {beat.replica} of {slot} has not loaded {ref}{why}")
        goes_back = placed.state.phase.is_over
        if missing and goes_back and now - placed.at >= ROLLBACK_PATIENCE and ready == set(after):
            _LOG.warning("a rollback of %s goes ahead without: %s", placed.state.rollout, "; ".join(missing))
            return []
        return missing

    def _publish_versions(self, slots: Mapping[str, SlotTraffic], prepare: Sequence[ModelRef]) -> None:
        """A replica finds a version by its signed document: it is there before the version is named."""
        versions = self._versions()
        named = {
            ref for slot in slots.values() for ref in (slot.champion, slot.challenger) if ref is not None
        }
        for ref in sorted({*named, *prepare}, key=str):
            try:
                versions.get(ref)
            except NotFoundError:
                publish_versions(self.registry, ref, self.document.files.versions, self.keys)
            except ArtifactError as error:
                # Replicas that have it go on; it is not for the document to take a slot down.
                _LOG.warning("%s is named, and no replica loads it anew: %s", ref, error)

    def _flip(self, published: VerifiedDocument[Traffic] | None, target: _Target) -> None:
        state = target.state
        if state is None:
            raise AssertionError("champions change, and no rollout says why")
        now = None if published is None else published.value
        revision = 0 if published is None else published.revision
        take_back_what_never_came(self.ledger, champions(now), revision)
        self._publish_versions(target.change.slots, target.prepare)
        change = target.change
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


@dataclass(frozen=True, slots=True)
class _Target:
    """The next revision. ``change`` names no champions where none changes in it."""

    change: Change
    prepare: Sequence[ModelRef]
    waits_for: tuple[str, ...]
    state: RolloutState | None


def _change(
    state: RolloutState,
    slots: Mapping[str, SlotTraffic],
    before: Mapping[str, ModelRef],
    after: Mapping[str, ModelRef],
    moving: Collection[str],
) -> Change:
    forward = all(move.challenger == after.get(move.slot) for move in state.moves if move.slot in moving)
    return Change(
        ChangeKind.PROMOTED if forward else ChangeKind.ROLLED_BACK,
        slots,
        {name: before[name] for name in moving if name in before},
        {name: after[name] for name in moving if name in after},
    )


def _keep(slots: dict[str, SlotTraffic], name: str, old: SlotTraffic | None, state: RolloutState) -> None:
    """Leave a slot as it is until its replicas have loaded the next champion, and let them do so.

    Champion replicas do not load what is on trial (`streamrec.serving.wanted_versions`): a challenger that is
    about to become champion answers everybody from now on, or nobody where it answered nobody before.
    """
    if old is None:
        slots.pop(name, None)
        return
    kept = replace(old, shadow_bp=0)
    if not state.phase.is_over:
        answers = old.challenger is not None and old.weight_bp > 0
        weight_bp = BASIS_POINTS if answers else 0
        challenger = old.challenger if answers else None
        kept = replace(kept, challenger=challenger, weight_bp=weight_bp, holder=state.rollout)
    slots[name] = kept


def _is_there(now: Traffic | None, slots: Mapping[str, SlotTraffic], prepare: Sequence[ModelRef]) -> bool:
    if now is None:
        return not slots and not prepare
    return dict(now.slots) == dict(slots) and now.prepare == tuple(prepare)
