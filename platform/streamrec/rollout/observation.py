"""What is known of a rollout at one moment, put together from what services, replicas and the log say."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.errors import ArtifactError, NotFoundError, StreamRecError, TemporaryError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.evidence import (
    EarlierCounts,
    RolloutEvidence,
    SlotEvidence,
    StepEvidence,
    UnitSums,
)
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import Answers, ServedTally, TallyRow
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Holdback, ReplicaHeartbeat, Traffic
from streamrec.contracts.units import BASIS_POINTS
from streamrec.governance.serving_refusals import refusals
from streamrec.ledger.ledger import Ledger
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.signed_versions import SignedVersions
from streamrec.rollout.driving.course import Stretch
from streamrec.rollout.driving.moments import Moments
from streamrec.rollout.heartbeats import HEARTBEAT_SILENCE_S, Heartbeats
from streamrec.rollout.outcomes import Arms, OutcomeQuestion, Outcomes
from streamrec.rollout.tallies import DamagedTalliesError, Tallies

_LOG = logging.getLogger(__name__)

TALLY_SILENCE: Final = timedelta(seconds=30)
"""Services write every second: where replicas live and no tally is newer, what is counted is stale."""

ASK_REGISTRY_EVERY: Final = timedelta(seconds=5)
"""Between two looks whether the registry answers."""

ASK_AGAIN_EVERY: Final = timedelta(seconds=10)
"""After one that found that it does not, which takes some seconds each time."""

_MAXIMUM_TEXT: Final = 1_000
_MAXIMUM_MISSING: Final = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What does not depend on the rollout, read once for all that are looked at together.

    Attributes:
        tallies: Of every process that can be read.
        heartbeats: The last of each replica.
        traffic: The document in force; None before the first.
        missing: What could not be read.
    """

    tallies: tuple[ServedTally, ...]
    heartbeats: tuple[ReplicaHeartbeat, ...]
    traffic: Traffic | None
    missing: tuple[str, ...]


class Observer:
    """Gathers evidence. What cannot be read is said to be missing, and never taken for nothing."""

    def __init__(
        self,
        tallies: Tallies,
        heartbeats: Heartbeats,
        outcomes: Outcomes,
        ledger: Ledger,
        registry: ModelRegistry,
        versions: SignedVersions,
    ) -> None:
        """Nothing is read yet.

        Args:
            tallies: What services count.
            heartbeats: What replicas say.
            outcomes: What users do.
            ledger: Says whether a version must not serve any more.
            registry: Has to answer for a rollout to go on.
            versions: The signed documents of versions.
        """
        self._tallies, self._heartbeats, self._outcomes = tallies, heartbeats, outcomes
        self._ledger, self._registry, self._versions = ledger, registry, versions
        self._moments = Moments()
        self._asked_registry: datetime | None = None
        self._registry_problem = ""

    def look(self, traffic: Traffic | None) -> Seen:
        """Read what does not depend on the rollout. Never raises `StreamRecError`."""
        missing: list[str] = []
        try:
            tallies = tuple(self._tallies.read())
        except DamagedTalliesError as error:
            tallies = error.readable
            missing.append(f"the tallies of the services: {error}")
        except StreamRecError as error:
            tallies = ()
            missing.append(f"the tallies of the services: {error}")
        try:
            heartbeats = tuple(self._heartbeats.read())
        except StreamRecError as error:
            heartbeats = ()
            missing.append(f"the heartbeats of the replicas: {error}")
        return Seen(tallies, heartbeats, traffic, tuple(missing))

    def evidence(
        self, state: RolloutState, course: Sequence[Stretch], seen: Seen, now: datetime
    ) -> RolloutEvidence:
        """What is known of one rollout.

        Args:
            state: Where it stands.
            course: What of it has begun.
            seen: What `look` has read.
            now: By the platform's clock.

        Raises:
            ArtifactError, TemporaryError: The ledger cannot be read, or was changed: then nothing is decided.
        """
        missing = list(seen.missing)
        if not state.phase.is_over:
            missing += self._registry_missing(state, now)
            missing += _stale(state, seen, now)
        slots = {}
        for move in state.moves:
            holdback = _holdback(state, move, seen.traffic)
            steps, watch = self._steps(state, move, course, holdback, seen, now, missing)
            loaded, replicas, problem = readiness(state, move, seen.heartbeats, now)
            newest = watch or (steps[-1] if steps else None)
            slots[move.slot] = SlotEvidence(
                steps=steps,
                watch=watch,
                earlier=self._earlier(state, move, course, newest, seen, now),
                loaded=loaded,
                replicas=replicas,
                problem=_one_line(problem),
            )
        return RolloutEvidence(
            now,
            slots,
            tuple(_one_line(text) for text in missing[:_MAXIMUM_MISSING]),
            _one_line(self._refused(state, now)),
        )

    def _steps(
        self,
        state: RolloutState,
        move: Move,
        course: Sequence[Stretch],
        holdback: Holdback | None,
        seen: Seen,
        now: datetime,
        missing: list[str],
    ) -> tuple[tuple[StepEvidence, ...], StepEvidence | None]:
        rows = [
            row
            for tally in seen.tallies
            for row in tally.rows
            if row.holder == state.rollout and row.slot == move.slot
        ]
        steps: list[StepEvidence] = []
        watch = None
        for stretch in course:
            sums: Mapping[ServingRole, UnitSums] = {}
            if move.outcome_metric is not None and _compares_outcomes(stretch, holdback):
                arms = Arms(
                    state.salt,
                    stretch.weight_bp,
                    None if holdback is None else holdback.salt,
                    0 if holdback is None else holdback.share_bp,
                )
                question = OutcomeQuestion(move.outcome_metric, arms, stretch.start, stretch.end)
                try:
                    found = self._outcomes.by_arm(question, now)
                except StreamRecError as error:
                    missing.append(f"the outcomes in {move.slot}: {error}")
                    found = None
                sums = found or {}
            evidence = _step_evidence(move, stretch, rows, sums)
            if stretch.phase is RolloutPhase.WATCH:
                watch = evidence
            else:
                steps.append(evidence)
        return tuple(steps), watch

    def _earlier(
        self,
        state: RolloutState,
        move: Move,
        course: Sequence[Stretch],
        counts: StepEvidence | None,
        seen: Seen,
        now: datetime,
    ) -> tuple[EarlierCounts, ...]:
        # Of counts that are not all there nothing is remembered: the next ones would seem to have shrunk.
        if counts is None or not course or seen.missing or state.phase.is_over:
            return ()
        return self._moments.earlier(state.rollout, move.slot, course[-1], counts, now)

    def keep_only(self, rollouts: Collection[str]) -> None:
        """Forget what was remembered of all other rollouts."""
        self._moments.keep_only(rollouts)

    @property
    def registry_problem(self) -> str:
        """Why the registry did not answer when it was asked last; empty where it did."""
        return self._registry_problem

    def _registry_missing(self, state: RolloutState, now: datetime) -> Iterable[str]:
        asked = self._asked_registry
        every = ASK_AGAIN_EVERY if self._registry_problem else ASK_REGISTRY_EVERY
        if asked is None or abs(now - asked) >= every:
            self._asked_registry, self._registry_problem = now, ""
            try:
                for ref in state.challengers:
                    self._registry.get(ref)
            except (TemporaryError, NotFoundError) as error:
                self._registry_problem = f"the registry of models: {error}"
        return [self._registry_problem] if self._registry_problem else []

    def _refused(self, state: RolloutState, now: datetime) -> str:
        """Why a version that asks to serve must not; empty where all may."""
        found = refusals(self._ledger, state.challengers, now)
        if found:
            return "; ".join(found.values())
        for ref in state.challengers:
            try:
                self._versions.get(ref)
            except (ArtifactError, NotFoundError) as error:
                return f"{ref} may not serve: {error}"
        return ""


def readiness(
    state: RolloutState, move: Move, heartbeats: Sequence[ReplicaHeartbeat], now: datetime
) -> tuple[bool, int, str]:
    """Whether the replicas of a slot can answer with the challenger, how many are heard, and a problem.

    As long as it is on trial, its challenger replicas count; where the slot has none, all of its replicas.
    When it is about to become champion, and after that, all of them count. Where nothing serves at all,
    nobody has to load anything.
    """
    heard = heard_of(move.slot, heartbeats, now)
    if not heard:
        return True, 0, ""
    challengers = [beat for beat in heard if beat.role is ServingRole.CHALLENGER]
    others = [beat for beat in heard if beat.role is not ServingRole.CHALLENGER]
    if state.fills_empty_slots or state.without_canary or state.phase is RolloutPhase.WATCH:
        counting = others
    elif state.weight_bp == BASIS_POINTS:
        counting = [*challengers, *others]
    else:
        counting = challengers or others
    loaded = bool(counting) and all(move.challenger in beat.loaded for beat in counting)
    problem = next(
        (
            f"replica {beat.replica} of {move.slot}: {beat.problem}"
            for beat in heard
            if move.challenger not in beat.loaded and _is_about(beat.problem, move.challenger)
        ),
        "",
    )
    return loaded, len(heard), problem


def heard_of(slot: str, heartbeats: Sequence[ReplicaHeartbeat], now: datetime) -> Sequence[ReplicaHeartbeat]:
    """The heartbeats of the replicas of a slot that are not too old."""
    return [
        beat
        for beat in heartbeats
        if beat.slot == slot and (now - beat.at).total_seconds() <= HEARTBEAT_SILENCE_S
    ]


def _is_about(problem: str, ref: ModelRef) -> bool:
    """Whether a replica's problem names a version: each of its problems begins with one."""
    return any(part.strip().startswith(f"{ref}:") for part in problem.split(";"))


def _step_evidence(
    move: Move, stretch: Stretch, rows: Sequence[TallyRow], sums: Mapping[ServingRole, UnitSums]
) -> StepEvidence:
    watched = stretch.phase is RolloutPhase.WATCH
    champion = move.challenger if watched else move.champion
    wanted = {
        ServingRole.CHAMPION: champion,
        ServingRole.CHALLENGER: None if watched else move.challenger,
        ServingRole.SHADOW: None if watched else move.challenger,
        # Before the first step nobody is held back; at weight 0 it is the watch.
        ServingRole.HOLDBACK: None if stretch.phase is RolloutPhase.SHADOW else move.champion,
    }
    answers = dict.fromkeys(wanted, Answers())
    for row in rows:
        if row.weight_bp == stretch.weight_bp and row.version == wanted.get(row.role):
            answers[row.role] += row.answers
    # In the watch everybody but the holdback has the new version, whichever bucket they are in.
    return StepEvidence(
        stretch.weight_bp,
        answers[ServingRole.CHAMPION],
        answers[ServingRole.CHALLENGER],
        answers[ServingRole.SHADOW],
        answers[ServingRole.HOLDBACK],
        sums.get(ServingRole.CHAMPION),
        sums.get(ServingRole.CHALLENGER),
        sums.get(ServingRole.HOLDBACK),
    )


def _compares_outcomes(stretch: Stretch, holdback: Holdback | None) -> bool:
    """Whether there is anybody to compare with: in the shadow nobody sees the challenger."""
    if stretch.phase is RolloutPhase.WATCH:
        return holdback is not None
    return stretch.phase is RolloutPhase.CANARY


def _holdback(state: RolloutState, move: Move, traffic: Traffic | None) -> Holdback | None:
    slot = None if traffic is None else traffic.slots.get(move.slot)
    if slot is None or slot.holdback is None or not state.plan.holdback_bp:
        return None
    return slot.holdback if slot.holdback.version == move.champion else None


def _stale(state: RolloutState, seen: Seen, now: datetime) -> Iterable[str]:
    """Where replicas live, those who ask them write tallies."""
    if state.phase is RolloutPhase.PREPARING or seen.missing:
        return
    if not any(heard_of(move.slot, seen.heartbeats, now) for move in state.moves):
        return
    newest = max((tally.at for tally in seen.tallies), default=None)
    if newest is None:
        yield "the tallies of the services: replicas are there, and no service has written any"
    elif now - newest > TALLY_SILENCE:
        age_s = (now - newest).total_seconds()
        yield f"the tallies of the services: none was written for {age_s:,.0f} s, though replicas are there"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAXIMUM_TEXT]
