"""Drives rollouts: observe, decide, write down, and let traffic follow.

    ledger -> states -> evidence -> step -> ledger (compare-and-set) -> traffic document -> aliases

The states in the ledger say everything. So this process may die at any moment, and whoever leads next goes on
from what is written; and a request of somebody, an abort say, is in force as soon as it is in the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    StreamRecError,
)
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.traffic import Traffic
from streamrec.governance.desk import Desk
from streamrec.governance.serving_refusals import refusals
from streamrec.ledger.ledger import Ledger
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.signed_versions import SignedVersions
from streamrec.rollout.aliases import AliasMirror, AliasReverted
from streamrec.rollout.analysis import Analysis, analyse
from streamrec.rollout.book import RolloutBook
from streamrec.rollout.desired_traffic import check_start, needed_versions
from streamrec.rollout.driving.course import Stretch, course_of
from streamrec.rollout.driving.reconciliation import Reconciled, TrafficReconciler
from streamrec.rollout.driving.reports import Look, TickReport
from streamrec.rollout.driving.submissions import SubmissionDesk, new_name, new_salt
from streamrec.rollout.driving.traffic_document import TrafficDocument
from streamrec.rollout.heartbeats import FileHeartbeats, Heartbeats
from streamrec.rollout.leadership import FileLeadership, Leadership
from streamrec.rollout.observation import Observer, Seen
from streamrec.rollout.outcomes import Outcomes
from streamrec.rollout.requests import Ask, Start, asked, retry_of, started
from streamrec.rollout.step import Decision, decide
from streamrec.rollout.tallies import FileTallies, Tallies
from streamrec.rollout.told_changes import By
from streamrec.rollout.traffic_changes import champions
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.rollout.traffic_needs import PlanNeeds, check_can_decide, needs

_LOG = logging.getLogger(__name__)

TICK_INTERVAL_S: Final = 1.0
"""Between two looks: what is asked for takes effect within it; replicas poll the document twice a second."""

Analyse = Callable[[RolloutState, RolloutEvidence, datetime], Analysis]
"""Harm, equality or nothing yet, out of a rollout's state and evidence at a time. Pure."""


class RolloutController:
    """Starts, drives and ends rollouts. Safe to use from several threads, and beside others in processes."""

    def __init__(
        self,
        files: TrafficFiles,
        keys: Path,
        registry: ModelRegistry,
        ledger: Ledger,
        outcomes: Outcomes,
        *,
        analyse: Analyse = analyse,
        heartbeats: Heartbeats | None = None,
        tallies: Tallies | None = None,
        leadership: Leadership | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is read yet.

        Args:
            files: Where the traffic document lies.
            keys: Folder of the key that signs.
            registry: Where versions and their artifacts are.
            ledger: Where rollouts are written down.
            outcomes: What users do.
            analyse: What the evidence says.
            heartbeats: What replicas say; those beside the document where None.
            tallies: What services count; those beside the document where None.
            leadership: Who drives; by a lock beside the document where None.
            clock: Now, UTC.
        """
        beats = FileHeartbeats(files.heartbeats) if heartbeats is None else heartbeats
        counts = FileTallies(files.tallies) if tallies is None else tallies
        self.book = RolloutBook(ledger)
        self._ledger, self._analyse, self._clock = ledger, analyse, clock
        self._outcomes = outcomes
        self._leadership = FileLeadership(files.controller_lock) if leadership is None else leadership
        self._document = TrafficDocument(files, keys)
        self._versions = SignedVersions(files.versions, files.public_keys)
        self._observer = Observer(counts, beats, outcomes, ledger, registry, self._versions)
        self._reconciler = TrafficReconciler(
            self._document, keys, registry, ledger, clock, known_dependencies={}
        )
        self._aliases = AliasMirror(registry, ledger, clock)
        desk = Desk(ledger, registry, files.versions, keys, clock)
        self._submissions = SubmissionDesk(registry, desk, outcomes, files.versions, keys)
        self._courses: dict[str, tuple[int, tuple[Stretch, ...]]] = {}
        self._ticking = threading.Lock()

    def start(
        self,
        refs: Sequence[ModelRef],
        plan: RolloutPlan | None,
        by: By,
        *,
        slot: str | None = None,
        name: str | None = None,
        retries: str | None = None,
        glass_broken: bool = False,
    ) -> RolloutState:
        """Start a rollout. It is driven by whoever leads.

        Args:
            refs: Versions of different slots; those that depend on each other go together.
            plan: By which; that of the specifications where None.
            by: Who asks, and why.
            slot: Where a single version goes that was registered without a slot.
            name: Of the rollout; made up where None.
            retries: Name of the rollout that it tries again.
            glass_broken: Versions for which the glass was broken may go too, beside eligible ones.

        Raises:
            ConflictError: Another rollout holds a slot, or the name is taken.
            PermissionDeniedError, NotFoundError, InvalidInputError, ArtifactError, TemporaryError: See
                `SubmissionDesk.submit`; or what would serve does not fit together.
        """
        return self._start(refs, plan, by, slot, name, retries, glass_broken)

    def promote(
        self,
        refs: Sequence[ModelRef],
        by: By,
        *,
        slot: str | None = None,
        glass_broken: bool = False,
    ) -> RolloutState:
        """Roll out without shadow and canary: champion as soon as the replicas have loaded it, then watched.

        Arguments and errors as `start`.
        """
        return self._start(refs, None, by, slot, None, None, glass_broken, without_canary=True)

    def retry(self, name: str, by: By, *, glass_broken: bool = False) -> RolloutState:
        """Start a rollout of the same versions by the same plan, after one that ended without success.

        Raises:
            NotFoundError: There is no rollout of that name.
            ConflictError: It has not failed; or as in `start`.
            InvalidInputError, PermissionDeniedError, ArtifactError, TemporaryError: As in `start`.
        """
        state = self.book.get(name)
        again = retry_of(state, name, state.salt)
        slot = state.slots[0] if len(state.moves) == 1 else None
        refs = state.challengers
        return self._start(
            refs, again.plan, by, slot, None, name, glass_broken, without_canary=again.without_canary
        )

    def request(self, name: str, ask: Ask, by: By) -> RolloutState:
        """Do what somebody asks of a rollout. It is in force when this returns, also where nobody drives.

        Args:
            name: Which rollout.
            ask: What.
            by: Who, and why.

        Raises:
            NotFoundError: There is no rollout of that name.
            ConflictError: It makes no sense where the rollout stands, or somebody else has moved it.
            InvalidInputError: A slot that moved with it has been moved again since.
            PermissionDeniedError: The version that it would go back to must not serve any more.
            TemporaryError: The ledger cannot be read or written; nothing was done.
        """
        state = self.book.get(name)
        decision = asked(state, ask, by, self._clock())
        if ask is Ask.ROLLBACK:
            self._check_way_back(state)
        return self.book.append(state, decision, by=by, request=ask.value)

    def roll_back(self, slot: str, by: By) -> RolloutState:
        """Take back what the last rollout did in a slot, and in all that it moved; again: the one before.

        Raises:
            NotFoundError: No rollout has made what serves there champion, so that none can be taken back.
            InvalidInputError: A slot that moved with it has been moved again since.
            ConflictError, PermissionDeniedError, TemporaryError: As in `request`.
        """
        return self.request(self.last_of(slot).rollout, Ask.ROLLBACK, by)

    def last_of(self, slot: str) -> RolloutState:
        """The rollout that `roll_back` would take back; the same errors."""
        holder = self.book.holding(slot)
        if holder is not None:
            return holder
        serving = champions(self._traffic())
        if slot not in serving:
            raise NotFoundError(f"nothing serves in {slot}")
        last = self.book.last_completed(slot, str(serving[slot]))
        if last is None:
            raise NotFoundError(
                f"{serving[slot]} serves in {slot}, and no rollout made it so: promote what is to serve"
            )
        return last

    def needs(self, slot: str, plan: RolloutPlan, outcome_metric: str | None) -> PlanNeeds:
        """Say what a plan takes of a slot's traffic, as the log knows it. Changes nothing.

        Raises:
            StreamRecError: The log cannot be read, or there is no such metric.
        """
        metric = outcome_metric if plan.outcome is not None else None
        return needs(plan, slot, self._outcomes.seen(slot, metric, self._clock()))

    def look(self, name: str) -> Look:
        """See where a rollout stands and what the evidence says now. Changes nothing.

        Raises:
            NotFoundError: There is no rollout of that name.
            ArtifactError, NotReadyError, TemporaryError: The ledger or the traffic document cannot be read.
        """
        state, now = self.book.get(name), self._clock()
        evidence = self._observer.evidence(
            state, self._course(state), self._observer.look(self._traffic()), now
        )
        if state.phase.is_over:
            return Look(state, evidence, None)
        decision = decide(state, evidence, self._analyse(state, evidence, now), now)
        waits_for = decision.state.waits_for if decision.kind is None else state.waits_for
        return Look(replace(state, waits_for=waits_for), evidence, decision.analysis)

    def tick(self) -> TickReport:
        """Look at everything once, and do what is to be done. Never waits for a replica."""
        with self._ticking:
            try:
                if not self._leadership.try_lead():
                    return TickReport(leads=False)
            except StreamRecError as error:
                return TickReport(leads=False, problems=(str(error),))
            problems: list[str] = []
            transitions: list[RolloutState] = []
            waiting: dict[str, tuple[Reason, ...]] = {}
            seen = self._observer.look(self._readable_traffic(problems))
            try:
                active = self.book.active()
            except StreamRecError as error:
                return TickReport(True, problems=(*problems, f"the ledger: {error}"))
            self._observer.keep_only([state.rollout for state in active])
            for state in active:
                try:
                    moved, why = self._drive(state, seen)
                except ConflictError as error:
                    _LOG.info("%s: %s", state.rollout, error)  # somebody's request came first
                except StreamRecError as error:
                    problems.append(f"{state.rollout}: {error}")
                else:
                    transitions += moved
                    if why:
                        waiting[state.rollout] = why
            done = self._reconcile(seen, problems)
            reverted: tuple[AliasReverted, ...] = ()
            if done is not None:
                problems += done.waits_for
                reverted = self._mirror(done.traffic, bool(active), problems)
            revision = 0 if done is None else done.revision
            return TickReport(True, tuple(transitions), waiting, tuple(problems), revision, reverted)

    def run(self, stop: threading.Event, *, interval_s: float = TICK_INTERVAL_S) -> None:
        """Drive until ``stop`` is set, and let another one lead then. Never raises."""
        said: tuple[str, ...] = ()
        try:
            while not stop.is_set():
                try:
                    report = self.tick()
                except Exception:  # noqa: BLE001 - a defect must not end the driving: the next look may work
                    _LOG.exception("a look at the rollouts failed")
                else:
                    if report.problems != said:
                        for problem in report.problems:
                            _LOG.warning("%s", problem)
                        said = report.problems
                stop.wait(interval_s)
        finally:
            self._leadership.resign()

    def close(self) -> None:
        """Let another one lead."""
        self._leadership.resign()

    def _drive(self, state: RolloutState, seen: Seen) -> tuple[Sequence[RolloutState], tuple[Reason, ...]]:
        now = self._clock()
        evidence = self._observer.evidence(state, self._course(state), seen, now)
        decision = decide(state, evidence, self._analyse(state, evidence, now), now)
        if decision.kind is None:
            return (), decision.state.waits_for
        after = self.book.append(state, decision, evidence=evidence)
        _LOG.info(
            "%s is %s now: %s",
            after.rollout,
            after.phase.value,
            "; ".join(reason.message for reason in decision.reasons) or "as its plan says",
        )
        return (after,), after.waits_for

    def _reconcile(self, seen: Seen, problems: list[str]) -> Reconciled | None:
        try:
            self._end_holdbacks(seen.traffic)
            return self._reconciler.reconcile(self.book.deciding(), seen.heartbeats)
        except StreamRecError as error:
            problems.append(f"the traffic document: {error}")
            return None

    def _mirror(
        self, traffic: Traffic | None, registry_was_asked: bool, problems: list[str]
    ) -> tuple[AliasReverted, ...]:
        if registry_was_asked and self._observer.registry_problem:
            return ()  # it is known to be gone, and asking it again would keep the next look from coming
        try:
            return self._aliases.mirror(traffic)
        except StreamRecError as error:
            problems.append(f"the aliases of the registry: {error}")
            return ()

    def _end_holdbacks(self, traffic: Traffic | None) -> None:
        """Tell the ledger of each holdback whose time is over; the document follows."""
        for name, slot in {} if traffic is None else traffic.slots.items():
            if slot.holdback is None or slot.holdback.until > self._clock():
                continue
            rollout = self.book.last_completed(name, str(slot.champion))
            if rollout is None or self.book.holdback_has_ended(rollout.rollout):
                continue
            reason = Reason(
                "holdback_over", name, f"it was to last until {slot.holdback.until:%Y-%m-%d %H:%M}Z"
            )
            self.book.append(rollout, Decision(rollout, EntryKind.HOLDBACK_ENDED, (reason,)))

    def _course(self, state: RolloutState) -> tuple[Stretch, ...]:
        """What of a rollout has begun; read again where it has moved."""
        known = self._courses.get(state.rollout)
        if known is None or known[0] != state.number:
            states = [one.state for one in self.book.history(state.rollout)]
            known = (state.number, course_of([one for one in states if one.number <= state.number]))
            active = {one.rollout for one in self.book.active()} | {state.rollout}
            self._courses = {name: one for name, one in self._courses.items() if name in active}
            self._courses[state.rollout] = known
        return known[1]

    def _traffic(self) -> Traffic | None:
        published = self._document.published()
        return None if published is None else published.value

    def _readable_traffic(self, problems: list[str]) -> Traffic | None:
        try:
            return self._traffic()
        except StreamRecError as error:
            problems.append(f"the traffic document: {error}")
            return None

    def _start(
        self,
        refs: Sequence[ModelRef],
        plan: RolloutPlan | None,
        by: By,
        slot: str | None,
        name: str | None,
        retries: str | None,
        glass_broken: bool,
        *,
        without_canary: bool = False,
    ) -> RolloutState:
        traffic = self._traffic()
        found = self._submissions.submit(refs, traffic, plan=plan, slot=slot, glass_broken=glass_broken)
        depends_on = self._reconciler.dependencies(needed_versions(traffic, found.moves))
        check_start(traffic, found.moves, found.plan.holdback_bp, depends_on)
        if found.plan.outcome is not None and not without_canary:
            for move in found.moves:
                if move.champion is not None:
                    check_can_decide(self.needs(move.slot, found.plan, move.outcome_metric))
        start = Start(
            name=name or new_name(refs),
            salt=new_salt(),
            moves=found.moves,
            plan=found.plan,
            without_canary=without_canary,
            retries=retries,
        )
        decision = started(start, by, self._clock())
        return self.book.append(None, decision, by=by, request="promote" if without_canary else "start")

    def _check_way_back(self, state: RolloutState) -> None:
        """Refuse to go back to what must not serve, or over what has happened since."""
        back = [move.champion for move in state.moves if move.champion is not None]
        refused = refusals(self._ledger, back, self._clock())
        if refused:
            raise PermissionDeniedError(f"{'; '.join(refused.values())}: roll out another version")
        if state.phase is not RolloutPhase.COMPLETED:
            return
        serving = champions(self._traffic())
        for move in state.moves:
            if serving.get(move.slot) != move.challenger:
                raise InvalidInputError(
                    move.slot,
                    f"has been changed since {state.rollout}: roll {serving.get(move.slot)} back first",
                )
