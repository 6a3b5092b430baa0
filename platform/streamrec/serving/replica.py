"""What a replica does besides answering: it follows the traffic document, loads and lets go of versions, and
says what it has.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import PROBLEM_MAXIMUM_CHARACTERS, ReplicaHeartbeat, Traffic
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.polling import Poller
from streamrec.rollout.heartbeats import Heartbeats
from streamrec.serving.loaded_versions import LoadedModel, LoadedVersions
from streamrec.serving.wanted_versions import wanted_versions

_LOG = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 0.5
"""Between looks at the traffic document: one system call where nothing has changed."""

HEARTBEAT_INTERVAL_S: Final = 2.0
"""Between heartbeats where nothing has changed; a change is told at once."""

T = TypeVar("T")


class ModelReplica(Generic[T]):
    """One replica of a slot. A version that the traffic document names is loaded beside those that answer."""

    def __init__(
        self,
        slot: str,
        model_name: str,
        versions: LoadedVersions[T],
        traffic: DocumentFollower[Traffic],
        heartbeats: Heartbeats,
        *,
        role: ServingRole = ServingRole.CHAMPION,
        replica: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is read or loaded before the first `follow`.

        Args:
            slot: Which slot it serves.
            model_name: Registered name of its model: which of the prepared versions are its own.
            versions: What it can answer with.
            traffic: The traffic document.
            heartbeats: Where it says what it has.
            role: Whose requests it takes: champion (and holdback) or challenger; see `wanted_versions`.
            replica: Its name; made up where None.
            clock: Monotonic time, s.
            now: Now, UTC.
        """
        self._slot, self._model_name, self._role = slot, model_name, role
        self._versions, self._traffic, self._heartbeats = versions, traffic, heartbeats
        self._replica = replica or f"{slot.replace('.', '-')}-{uuid.uuid4().hex[:12]}"
        self._clock, self._now = clock, now
        self._following, self._telling = threading.Lock(), threading.Lock()
        self._told: tuple[object, ...] | None = None
        self._told_at_s = 0.0
        # Apart from each other: a replica that loads for a minute must not seem to be gone.
        self._pollers = (
            Poller(self.follow, interval_s=POLL_INTERVAL_S, name=f"follow-{slot}"),
            Poller(self.tell, interval_s=POLL_INTERVAL_S, name=f"tell-{slot}"),
        )

    @property
    def name(self) -> str:
        """Its name in heartbeats."""
        return self._replica

    @property
    def revision(self) -> int | None:
        """Of the traffic document that it follows; None before the first."""
        document = self._traffic.current
        return None if document is None else document.revision

    @property
    def champion(self) -> ModelRef | None:
        """What the document names for its slot; None where it names nothing."""
        document = self._traffic.current
        slot = None if document is None else document.value.slots.get(self._slot)
        return None if slot is None else slot.champion

    @property
    def loaded(self) -> tuple[ModelRef, ...]:
        """The versions that it can answer with."""
        return self._versions.refs

    @property
    def is_complete(self) -> bool:
        """Whether it has read a document and has everything that it names for it."""
        return self.revision is not None and not set(self._wanted()).difference(self._versions.refs)

    @property
    def problem(self) -> str:
        """Why a version is missing; empty where none is."""
        if self._role is ServingRole.CHAMPION and self.champion is None:
            return f"no version is promoted in {self._slot}: see streamrec models deploy"
        return self._versions.problem

    def get(self, ref: ModelRef) -> LoadedModel[T]:
        """Return a loaded version; never waits. Raises `NotReadyError` where it is not loaded."""
        return self._versions.get(ref)

    def follow(self) -> bool:
        """Look at the traffic document, load what it names and tell it. Never raises.

        Returns:
            Whether everything that it names is loaded.
        """
        with self._following:
            try:
                self._traffic.refresh()
                complete = self._versions.keep(self._wanted())
            except Exception:  # noqa: BLE001 - a defect here must not end the following: the next look may work
                _LOG.exception("%s: following the traffic document failed", self._replica)
                return False
        self.tell()
        return complete

    def tell(self) -> None:
        """Write the heartbeat where something has changed or the last one is old."""
        with self._telling:
            state = (self.revision, self._versions.refs, self._versions.problem)
            now_s = self._clock()
            if state != self._told or now_s - self._told_at_s >= HEARTBEAT_INTERVAL_S:
                self._write_heartbeat()
                self._told, self._told_at_s = state, now_s

    def start(self) -> None:
        """Follow from now on, in threads that end with the process or with `stop`."""
        for poller in self._pollers:
            poller.start()

    def stop(self) -> None:
        """Follow no more, and take the heartbeat away."""
        for poller in self._pollers:
            poller.stop()
        try:
            self._heartbeats.remove(self._replica)
        except StreamRecError:
            _LOG.warning("the heartbeat of %s stays", self._replica, exc_info=True)

    def _wanted(self) -> tuple[ModelRef, ...]:
        document = self._traffic.current
        traffic = None if document is None else document.value
        return wanted_versions(traffic, self._slot, self._model_name, self._role)

    def _write_heartbeat(self) -> None:
        problem = " ".join(self._versions.problem.split())[:PROBLEM_MAXIMUM_CHARACTERS]
        heartbeat = ReplicaHeartbeat(
            replica=self._replica,
            slot=self._slot,
            role=self._role,
            revision=self.revision,
            loaded=self._versions.refs,
            problem=problem,
            at=self._now(),
        )
        try:
            self._heartbeats.write(heartbeat)
        except StreamRecError as error:
            _LOG.warning("%s could not say what it has: %s", self._replica, error)
