"""What a shadow answered: counted, and written down as a prediction, since nobody saw it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from services.recommendations.contracts.stages import SLOTS, version_name
from services.recommendations.gateway.asked_counts import AskedCounts
from services.recommendations.pipeline.trials import ShadowAnswer
from streamrec.contracts.errors import OverloadedError
from streamrec.contracts.events import Prediction
from streamrec.contracts.slots import ServingRole
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.compaction import nobody


class ShadowLog:
    """Takes note of shadows. For one event loop."""

    def __init__(
        self,
        counts: AskedCounts,
        log: AsyncEventLog,
        is_erased: Callable[[str], bool] = nobody,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Describe it.

        Args:
            counts: Where they are counted.
            log: Where predictions go.
            is_erased: Whether nothing may be kept of a user.
            now: Now, UTC.
        """
        self._counts, self._log, self._is_erased, self._now = counts, log, is_erased, now

    def note(self, shadow: ShadowAnswer) -> None:
        """Count it, and queue what it answered; where the queue is full it is counted alone."""
        asked = shadow.asked
        self._counts.shadow(asked, disagreed=shadow.disagreed)
        if asked.version is None or self._is_erased(shadow.unit):
            return
        prediction = Prediction(
            request_id=shadow.request_id,
            unit=shadow.unit,
            slot=SLOTS[asked.stage],
            role=ServingRole.SHADOW,
            version=version_name(asked.stage, asked.version),
            predicted_at=self._now(),
            traffic_revision=shadow.traffic_revision,
            output={"item_ids": list(shadow.item_ids), "disagreed": shadow.disagreed},
        )
        try:
            self._log.enqueue([prediction])
        except OverloadedError:
            return
