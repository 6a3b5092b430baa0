"""The one writer of the traffic document: prepares what is to serve, waits for the replicas, then sends
traffic to it.

    publish the versions -> revision n names them as `prepare` -> every replica that is heard from has loaded
    them -> the ledger says who changes what -> revision n + 1 names them as champions

A replica that cannot load them, or a ledger that cannot be written, stops the change: `prepare` is taken
back, and what served goes on serving.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import (
    DependencyError,
    InvalidInputError,
    NotReadyError,
    PermissionDeniedError,
    StreamRecError,
)
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import CHAMPION, ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import ReplicaHeartbeat, Traffic
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Standing
from streamrec.ledger.ledger import Ledger
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.signed_versions import publish_versions
from streamrec.rollout.book import RolloutBook
from streamrec.rollout.driving.traffic_document import NothingChangedError, TrafficDocument, flip
from streamrec.rollout.heartbeats import HEARTBEAT_SILENCE_S, FileHeartbeats, Heartbeats
from streamrec.rollout.told_changes import By, take_back_what_never_came
from streamrec.rollout.traffic_changes import Change, champions, last_change_of, with_champions
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.rollout.traffic_history import (
    REASON_MAXIMUM_CHARACTERS,
    ChangeKind,
    read_changes,
)

_LOG = logging.getLogger(__name__)

PREPARE_TIMEOUT_S: Final = 60.0
"""Longest wait for replicas to load what is prepared: a large index takes seconds."""

_POLL_S: Final = 0.1
_FORGET_REPLICA_AFTER_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class TrafficChanged:
    """What a change did.

    Attributes:
        revision: Of the traffic document in force now.
        before, after: Champion by slot, of the slots that changed; an empty slot is not in ``before``. Both
            are empty where all of it served already.
        replicas: Names of the replicas that had loaded the new versions before traffic was sent to them.
        mirrored: Whether the registry's aliases say the same.
    """

    revision: int
    before: Mapping[str, ModelRef]
    after: Mapping[str, ModelRef]
    replicas: tuple[str, ...]
    mirrored: bool


class TrafficWriter:
    """Changes the traffic document. Several processes may try at once: one changes it, the others wait."""

    def __init__(
        self,
        files: TrafficFiles,
        keys: Path,
        registry: ModelRegistry,
        ledger: Ledger,
        *,
        heartbeats: Heartbeats | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is read yet.

        Args:
            files: Where the document lies.
            keys: Folder of the key that signs.
            registry: Where versions and their artifacts are.
            ledger: Says which versions may be promoted, and hears of every change.
            heartbeats: What replicas say; those beside the document where None.
            clock: Now, UTC.
            sleep: Waits some seconds.
        """
        self._files, self._keys, self._registry, self._ledger = files, keys, registry, ledger
        self._book = RolloutBook(ledger)
        self._desk = Desk(ledger, registry, files.versions, keys, clock)
        self._heartbeats = heartbeats if heartbeats is not None else FileHeartbeats(files.heartbeats)
        self._document = TrafficDocument(files, keys)
        self._clock, self._sleep = clock, sleep

    def promote(
        self,
        refs: Sequence[ModelRef],
        *,
        actor: str,
        reason: str = "",
        slot: str | None = None,
        timeout_s: float = PREPARE_TIMEOUT_S,
        role: ActorRole = ActorRole.PLATFORM,
        glass_broken: bool = False,
    ) -> TrafficChanged:
        """Make versions the champions of their slots, all in one revision.

        Args:
            refs: Versions of different slots.
            actor: Who promotes.
            reason: Why.
            slot: Where a single version goes that was registered without a slot.
            timeout_s: Longest wait for the replicas.
            role: In which role they do.
            glass_broken: Versions for which the glass was broken may go too, beside eligible ones.

        Raises:
            PermissionDeniedError: A version is not eligible; says why, and the way back.
            NotFoundError: There is no such version.
            InvalidInputError: Two versions are of one slot, one has none, or what would serve does not fit
                together.
            ArtifactError: An artifact is damaged.
            NotReadyError: A replica could not load a version; what served before serves.
            TemporaryError: Somebody else is changing the document, a replica did not load in time, or the
                registry did not answer; what served before serves.
        """
        wanted = self._by_slot(refs, slot)

        def decide(published: Traffic | None) -> Change:
            now = champions(published)
            after = {name: ref for name, ref in wanted.items() if now.get(name) != ref}
            before = {name: now[name] for name in after if name in now}
            for ref in after.values():
                self._check_eligible(ref, glass_broken)
            slots = with_champions(published, after, self._depends_on({**now, **after}.values()))
            return Change(ChangeKind.PROMOTED, slots, before, after)

        return self._change(decide, By(actor, role, reason), timeout_s)

    def roll_back(
        self,
        slot: str,
        *,
        actor: str,
        reason: str = "",
        timeout_s: float = PREPARE_TIMEOUT_S,
        role: ActorRole = ActorRole.PLATFORM,
    ) -> TrafficChanged:
        """Undo the newest promotion in ``slot``, in all slots that it changed; again: the one before.

        What was eligible when it served may serve again, unless its verdict was revoked.

        Raises:
            NotFoundError: Nothing is left to go back to.
            InvalidInputError: A slot that was changed with it has been changed again since.
            ArtifactError, NotReadyError, TemporaryError: As in `promote`.
        """

        def decide(published: Traffic | None) -> Change:
            now = champions(published)
            revision = published.revision if published is not None else 0
            change = last_change_of(slot, read_changes(self._files.history, up_to=revision), now)
            back = dict(change.before)
            slots = with_champions(published, back, self._depends_on({**now, **back}.values()))
            return Change(ChangeKind.ROLLED_BACK, slots, dict(change.after), back, change.revision)

        return self._change(decide, By(actor, role, reason), timeout_s)

    def sign_again(self) -> int | None:
        """Publish the document as it is, signed by the key that signs now.

        Returns:
            Its revision; None where nothing was promoted yet.

        Raises:
            NotReadyError: What lies there is refused by every replica: what it says may be anybody's.
            TemporaryError: Somebody else is changing the document, or it cannot be written.
        """
        with self._document.changing():
            published = self._document.published()
            if published is None:
                return None
            traffic = published.value
            return self._document.publish(traffic.slots, traffic.prepare, published.revision).revision

    def _check_eligible(self, ref: ModelRef, glass_broken: bool) -> None:
        found = self._desk.eligibility(ref)
        if found.eligible or (glass_broken and found.standing is Standing.BREAK_GLASS):
            return
        raise PermissionDeniedError(
            f"{ref} may not be promoted, it is {found.standing}: {found.in_short}. Next: {found.way_back}"
        )

    def _check_not_held(self, slots: Collection[str]) -> None:
        """Refuse what belongs to a rollout, also before the document says so."""
        for slot in slots:
            holder = self._book.holding(slot)
            if holder is not None:
                raise InvalidInputError(
                    f"slots.{slot}",
                    f"belongs to the rollout {holder.rollout}, which alone may change it: wait until it is "
                    "over, or abort it first",
                )

    def _by_slot(self, refs: Sequence[ModelRef], slot: str | None) -> dict[str, ModelRef]:
        if slot is not None and len(refs) != 1:
            raise InvalidInputError("slot", "can be named for a single version only")
        wanted: dict[str, ModelRef] = {}
        for ref in refs:
            registered = self._registry.get(ref).slot
            if slot is not None and registered is not None and registered != slot:
                raise InvalidInputError("slot", f"{ref} was registered for {registered}")
            name = registered or slot
            if name is None:
                raise InvalidInputError("slot", f"{ref} was registered without a slot: name one (--slot)")
            if name in wanted:
                raise InvalidInputError("model", f"{wanted[name]} and {ref} are both of the slot {name}")
            wanted[name] = ref
        return wanted

    def _depends_on(self, refs: Collection[ModelRef]) -> dict[ModelRef, Mapping[str, ModelRef]]:
        return {ref: self._registry.get(ref).depends_on for ref in refs}

    def _change(self, decide: Callable[[Traffic | None], Change], by: By, timeout_s: float) -> TrafficChanged:
        _check_reason(by.reason)
        with self._document.changing():
            published = self._document.published()
            now = None if published is None else published.value
            take_back_what_never_came(
                self._ledger, champions(now), 0 if published is None else published.revision
            )
            change = decide(now)
            self._check_not_held(change.after)
            if not change.after and published is not None:
                return TrafficChanged(
                    published.revision, {}, {}, (), self._mirror(champions(published.value))
                )
            for ref in change.after.values():
                publish_versions(self._registry, ref, self._files.versions, self._keys)
            replicas, revision = self._prepared(published, change, timeout_s)
            return self._flipped(change, revision, by, replicas)

    def _prepared(
        self,
        published: VerifiedDocument[Traffic] | None,
        change: Change,
        timeout_s: float,
    ) -> tuple[tuple[str, ...], int]:
        """Wait until every replica that is heard from has loaded what is new; return who and the revision."""
        revision = 0 if published is None else published.revision
        slots = {} if published is None else published.value.slots
        if not self._heard(change.after):
            return (), revision
        document = self._document.publish(slots, tuple(change.after.values()), revision)
        try:
            replicas = self._wait(document.revision, change.after, timeout_s)
        except StreamRecError:
            self._document.publish(slots, (), document.revision)
            raise
        return replicas, document.revision

    def _wait(self, revision: int, after: Mapping[str, ModelRef], timeout_s: float) -> tuple[str, ...]:
        deadline = self._clock() + timedelta(seconds=timeout_s)
        while True:
            heard = self._heard(after)
            missing = [
                beat
                for beat in heard
                if beat.revision is None or beat.revision < revision or after[beat.slot] not in beat.loaded
            ]
            if not missing:
                return tuple(beat.replica for beat in heard)
            for beat in missing:
                if beat.revision is not None and beat.revision >= revision and beat.problem:
                    raise NotReadyError(
                        f"replica {beat.replica} of {beat.slot} cannot serve {after[beat.slot]}: "
                        f"{beat.problem}; what served before serves"
                    )
            if self._clock() >= deadline:
                versions = ", ".join(sorted({str(after[beat.slot]) for beat in missing}))
                raise DependencyError(
                    f"{', '.join(beat.replica for beat in missing)} did not load {versions} within "
                    f"{timeout_s:g} s; what served before serves"
                )
            self._sleep(_POLL_S)

    def _heard(self, slots: Collection[str]) -> list[ReplicaHeartbeat]:
        """The heartbeats of the replicas of ``slots`` that are not too old; very old ones are removed."""
        now = self._clock()
        heard = []
        for beat in self._heartbeats.read():
            age_s = (now - beat.at).total_seconds()
            if age_s > _FORGET_REPLICA_AFTER_S:
                self._heartbeats.remove(beat.replica)
            # Replicas of challengers load what is on trial alone.
            elif beat.role is ServingRole.CHALLENGER or beat.slot not in slots:
                continue
            elif age_s <= HEARTBEAT_SILENCE_S:
                heard.append(beat)
        return heard

    def _flipped(
        self, change: Change, expected_revision: int, by: By, replicas: tuple[str, ...]
    ) -> TrafficChanged:
        try:
            revision = flip(self._document, self._ledger, change, expected_revision, by, self._clock)
        except NothingChangedError:
            self._take_back(expected_revision)
            raise
        _LOG.info("traffic revision %d: %s", revision, {k: str(v) for k, v in change.after.items()})
        return TrafficChanged(revision, change.before, change.after, replicas, self._mirror(change.after))

    def _take_back(self, expected_revision: int) -> None:
        """Name nothing as `prepare` any more, where that was done; on a full disk it may have to stay."""
        try:
            published = self._document.published()
            if published is not None and published.value.prepare:
                self._document.publish(published.value.slots, (), expected_revision)
        except StreamRecError:
            _LOG.exception("what was prepared is named still; the next change takes it back")

    def _mirror(self, after: Mapping[str, ModelRef]) -> bool:
        """Let the registry's aliases say what serves; a failure undoes nothing, since the document counts."""
        try:
            for ref in after.values():
                self._registry.set_alias(ref, CHAMPION)
        except StreamRecError:
            _LOG.exception("the aliases of the registry do not say what serves")
            return False
        return True


def _check_reason(reason: str) -> None:
    if len(reason) > REASON_MAXIMUM_CHARACTERS or not reason.isprintable():
        raise InvalidInputError(
            "reason", f"must be one line of at most {REASON_MAXIMUM_CHARACTERS:,} characters"
        )
