"""What an answer leaves in the event log, on its way there without anybody waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.recommendations.contracts.candidates import UserState
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.stages import RERANKING, SLOTS, version_name
from services.recommendations.contracts.state_document import state_digest, state_document
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.pipeline.pipeline import PipelineAnswer
from services.recommendations.pipeline.trials import non_champions
from streamrec.contracts.errors import OverloadedError
from streamrec.contracts.events import UNKNOWN_PROPENSITY, Impression, Propensity, ScoredItems
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.units import keeps_candidates
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.compaction import nobody


class ImpressionSink:
    """Hands impressions to the event log's own bounded queue, and counts those that do not fit."""

    def __init__(
        self,
        log: AsyncEventLog,
        metrics: RecommendationMetrics,
        *,
        is_erased: Callable[[str], bool] = nobody,
    ) -> None:
        """Describe a sink.

        Args:
            log: Where impressions go.
            metrics: Where lost ones and the queue's length are shown.
            is_erased: Whether nothing may be kept of a user.
        """
        self._is_erased = is_erased
        self._log = log
        self._metrics = metrics
        metrics.watch_event_log(queued=lambda: log.queued_records, lost=lambda: log.lost_records)

    def offer(self, impression: Impression) -> bool:
        """Queue an impression; False if it was dropped because the queue is full.

        That of a user who was erased is nobody's business, and is not kept.
        """
        if self._is_erased(impression.unit):
            return True
        try:
            self._log.enqueue([impression])
        except OverloadedError:
            self._metrics.count_dropped_impression()
            return False
        return True


def impression_of(
    request_id: str,
    user: UserState,
    answer: PipelineAnswer,
    predicted_at: datetime,
    latency_ms: float,
    *,
    client_request_id: str | None = None,
    page: int = 1,
) -> Impression:
    """Return what is written down about an answer.

    Args:
        request_id: Of the request; it decides whether all candidates are kept.
        user: What the stages knew.
        answer: What the pipeline returned.
        predicted_at: Now, UTC.
        latency_ms: From the request's arrival to the answer.
        client_request_id: What the caller calls the request, where it said so.
        page: Which page of a list it is.
    """
    versions = {
        SLOTS[stage]: version_name(stage, version) for stage, version in answer.model_versions.items()
    }
    candidates = answer.candidates if keeps_candidates(request_id) else None
    return Impression(
        request_id=request_id,
        client_request_id=client_request_id,
        unit=user.user_id,
        slot=SLOTS[RERANKING],
        role=answer.roles.get(RERANKING, ServingRole.CHAMPION),
        version=versions.get(SLOTS[RERANKING]),
        predicted_at=predicted_at,
        item_ids=answer.item_ids,
        scores=answer.scores,
        versions=versions,
        propensity=_propensity(answer),
        seed=answer.seed,
        state_digest=state_digest(user),
        traffic_revision=answer.traffic_revision,
        price_revision=answer.price_revision,
        # What it takes to draw the slate again; where nothing was drawn, nothing needs to be.
        features=None if answer.seed is None else state_document(user),
        candidates=None
        if candidates is None
        else ScoredItems(candidates.item_ids, tuple(float(score) for score in candidates.scores)),
        extension=ImpressionExtension(
            answer.rung,
            answer.cold_start,
            latency_ms,
            answer.skipped,
            answer.item_revision,
            answer.stage_item_revisions,
            answer.in_full,
            page,
            answer.effort,
            non_champions(answer.roles),
        ).to_json(),
    )


def _propensity(answer: PipelineAnswer) -> Propensity:
    """Certain only where nothing was drawn, missing or cut off: how often that happens is not known.

    The ladder draws nothing. Where it answers because the user has seen everything, it is certain too.
    """
    if answer.seed is None and answer.in_full and not answer.skipped:
        return Propensity.certain(len(answer.item_ids))
    return UNKNOWN_PROPENSITY
