"""The traffic document as the gateway follows it: each request is pinned to the versions of one revision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from services.recommendations.contracts.stages import SLOTS, Stages
from services.recommendations.serving.traffic.assigned_stages import AssignedStages
from services.recommendations.serving.versioned_stages import VersionedStages
from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Traffic
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.documents.polling import Poller
from streamrec.rollout.heartbeats import HEARTBEAT_SILENCE_S, FileHeartbeats
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.serving.replica import HEARTBEAT_INTERVAL_S

_LOG = logging.getLogger(__name__)

_POLL_INTERVAL_S: Final = 0.5


class FollowedTraffic:
    """Looks at the document beside the requests, never during one. Safe to use from several threads."""

    def __init__(
        self,
        files: TrafficFiles,
        stages: VersionedStages,
        on_change: Callable[[Mapping[ServingRole, Mapping[str, int]]], None],
        challengers: VersionedStages | None = None,
    ) -> None:
        """Read the document once; `start` follows it.

        Args:
            files: Where it lies.
            stages: The stages that requests are pinned to versions of.
            on_change: Called with the version by stage, by role, whenever another document is in force.
            challengers: The stages of challengers; None: none is tried.
        """
        self._follower, self._heartbeats = files.open_follower(), FileHeartbeats(files.heartbeats)
        self._versioned_stages, self._challengers, self._on_change = stages, challengers, on_change
        self._assigned: tuple[VerifiedDocument[Traffic] | None, AssignedStages] | None = None
        self._problems: tuple[str, ...] = ()
        self._pollers = (
            Poller(self._refresh, interval_s=_POLL_INTERVAL_S, name="follow-traffic"),
            # Replicas say no more often what they have.
            Poller(self._listen, interval_s=HEARTBEAT_INTERVAL_S, name="listen-to-replicas"),
        )
        self._refresh()

    def stages(self, unit: str) -> Stages:
        """The stages as the next request of a unit is to see them."""
        return self._current()[1].stages(unit)

    @property
    def versions(self) -> dict[str, int]:
        """Version of the champion by stage."""
        return self._current()[1].versions[ServingRole.CHAMPION]

    @property
    def challenged(self) -> tuple[str, ...]:
        """The stages for which a challenger is named, with whatever share."""
        return tuple(self._current()[1].versions[ServingRole.CHALLENGER])

    @property
    def revision(self) -> int | None:
        """Of the document in force; None where there is none."""
        document = self._current()[0]
        return None if document is None else document.revision

    @property
    def problems(self) -> tuple[str, ...]:
        """What the replicas say that they cannot load."""
        return self._problems

    def start(self) -> None:
        """Follow from now on, in threads that end with the process or with `stop`."""
        for poller in self._pollers:
            poller.start()

    def stop(self) -> None:
        """Follow no more."""
        for poller in self._pollers:
            poller.stop()

    def _refresh(self) -> None:
        self._follower.refresh()
        document = self._follower.current
        if self._assigned is None or self._assigned[0] is not document:
            traffic = None if document is None else document.value
            stages = AssignedStages(traffic, self._versioned_stages, self._challengers)
            self._assigned = (document, stages)
            self._on_change(stages.versions)

    def _listen(self) -> None:
        self._problems = self._said_by_replicas()

    def _current(self) -> tuple[VerifiedDocument[Traffic] | None, AssignedStages]:
        assert self._assigned is not None  # noqa: S101 - the constructor has read it
        return self._assigned

    def _said_by_replicas(self) -> tuple[str, ...]:
        try:
            heartbeats = self._heartbeats.read()
        except StreamRecError as error:
            _LOG.warning("the heartbeats of the replicas cannot be read: %s", error)
            return ()
        now = datetime.now(UTC)
        ours = frozenset(SLOTS.values())
        return tuple(
            f"{beat.replica}: {beat.problem}"
            for beat in heartbeats
            if beat.problem and beat.slot in ours and (now - beat.at).total_seconds() <= HEARTBEAT_SILENCE_S
        )
