"""How the gateway answers, and where it finds its stores. Free of Ray and of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.recommendations.contracts.stages import COLD_START, RANKING, RERANKING, RETRIEVAL
from services.recommendations.gateway.live_items import ItemFeatureSettings
from services.recommendations.gateway.user_states import UserStateSettings
from services.recommendations.pipeline.pipeline import PipelineSettings
from streamrec.callers.settings import CallerSettings
from streamrec.erasure.erased_persons import ErasureFiles
from streamrec.events.event_log import EventWriter
from streamrec.events.records import QuarantinedEvent
from streamrec.features.store import FeatureStore
from streamrec.features.user_actions import UserAction
from streamrec.items.follower import ItemFeed
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.serving.brown_out import BrownOutSettings
from streamrec.serving.concurrency_limit import LimitSettings


class ClosableEventWriter(EventWriter, Protocol):
    """An event log that has to be looked after, and closed."""

    def rotate_if_due(self) -> None:
        """Let go of what was written a while ago, so that it can be compacted."""
        ...

    def rotate(self) -> None:
        """Let go of everything that was written."""
        ...

    def close(self) -> None:
        """Write what is left and let go of the files."""
        ...


@dataclass(frozen=True)
class GatewayParts:
    """Makes what the gateway needs in its own process. The functions must be importable there.

    Attributes:
        feature_store: Opens the feature store.
        event_log: Opens the event log.
        erasures: Where the list of erased users lies.
        acknowledged_since: Reads from the event log what users did since a time, by user; all where None.
        item_feed: Follows the item log; by default there is none, and the catalogue stays as materialised.
        set_aside: Reads the events of earlier runs that wait for an item to become known, oldest first.
    """

    feature_store: Callable[[], FeatureStore]
    event_log: Callable[[], ClosableEventWriter]
    erasures: ErasureFiles
    acknowledged_since: Callable[[datetime | None], Mapping[str, Sequence[UserAction]]]
    item_feed: Callable[[], ItemFeed] = MemoryItemLog
    set_aside: Callable[[], Sequence[QuarantinedEvent]] = tuple


def _default_timeouts() -> dict[str, float]:
    return {RETRIEVAL: 60.0, COLD_START: 60.0, RANKING: 70.0, RERANKING: 50.0}


@dataclass(frozen=True)
class GatewaySettings:
    """How the gateway answers.

    Attributes:
        deadline_ms: What a request may take whose caller says nothing; and what load is measured against.
        maximum_deadline_ms: The most that a caller may ask for (`edge.deadlines`).
        stage_timeout_ms: Longest wait by stage within ``deadline_ms``; within another deadline in proportion.
        retry_ratio: Retries a request on average, at most.
        limit: How the number of recommendation requests at once is found; more get a 503.
        brown_out: When less is done for a request (`contracts.effort`).
        maximum_events_in_flight: Event requests at once; more get a 503.
        pipeline: Who passes through which stage.
        users: How the feature store is read.
        items: How the features of items are kept up to date.
        callers: Who may ask, and how often.
    """

    deadline_ms: float = 100.0
    maximum_deadline_ms: float = 1000.0
    stage_timeout_ms: Mapping[str, float] = field(default_factory=_default_timeouts)
    retry_ratio: float = 0.1
    limit: LimitSettings = field(default_factory=LimitSettings)
    brown_out: BrownOutSettings = field(default_factory=BrownOutSettings)
    maximum_events_in_flight: int = 64
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    users: UserStateSettings = field(default_factory=UserStateSettings)
    items: ItemFeatureSettings = field(default_factory=ItemFeatureSettings)
    callers: CallerSettings = field(default_factory=CallerSettings)
