"""The served pipeline over models in this process: for evaluation, and for checking what was served."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.stages import TIMED_FOR_MS, Stages
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.pipeline import (
    PipelineAnswer,
    PipelineSettings,
    RecommendationPipeline,
)
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import PlainCalls
from services.recommendations.training.rejections import NO_REJECTIONS, Rejections
from streamrec.contracts.errors import InvalidInputError
from streamrec.features.store import ItemTable
from streamrec.items.state import ItemState
from streamrec.serving.deadline import Deadline
from streamrec.training.splits import UserHistories

T = TypeVar("T")


class OfflinePipeline:
    """Answers as the gateway would if nothing were late: no clock, no retry, and any failure is an error."""

    def __init__(
        self,
        models: LocalModels | Stages,
        items: ItemTable,
        settings: PipelineSettings | None = None,
        *,
        item_state: ItemState | None = None,
    ) -> None:
        """Compose the pipeline over the items that the gateway would serve.

        Args:
            models: The four models, or stages that answer at once.
            items: What can be recommended.
            settings: As the gateway has them.
            item_state: What the item log said; None: nothing.
        """
        self.items = items
        served = ServedItems.from_item_table(items).as_of(item_state or ItemState())
        stages = models.as_stages() if isinstance(models, LocalModels) else models
        self._pipeline = RecommendationPipeline(
            stages=lambda _user_id: stages,
            items=lambda: served,
            calls=PlainCalls(),
            settings=settings,
        )

    def cold_start_weight(self, user: UserState) -> float:
        """See `RecommendationPipeline.cold_start_weight`."""
        return self._pipeline.cold_start_weight(user)

    def recommend(
        self,
        user: UserState,
        k: int,
        request_id: str,
        *,
        slate_length: int | None = None,
        effort: Effort = Effort.FULL,
    ) -> PipelineAnswer:
        """Return the slate that the gateway would serve for this user, request id and k.

        Args:
            user: Who asks.
            k: Items wanted.
            request_id: Seeds the posterior draw of a new user.
            slate_length: Items that the re-ranker chooses as the slate; ``k`` where None.
            effort: How much the gateway would do.

        Raises:
            InvalidInputError: ``k`` is below 1.
            Exception: Whatever a model raises.
        """
        if k < 1:
            raise InvalidInputError("k", "must be 1 or more")
        # The clock stands still: no stage may answer differently because the machine was busy.
        standing = Deadline.after_ms(TIMED_FOR_MS, clock=lambda: 0.0)
        return _run_to_end(
            self._pipeline.recommend(user, k, request_id, standing, slate_length=slate_length, effort=effort)
        )


@dataclass(frozen=True)
class PipelineAsCatalogueRanker:
    """The whole pipeline as `streamrec.training.evaluation.CatalogueRanker`.

    Attributes:
        pipeline: What answers.
        segments: Segment by user id; a user who is missing has an unknown one.
        request_id: Of every request, so that a posterior draw depends on the user alone.
        slate_length: The slate that is evaluated is one of this length, as served by default; what follows it
            in the list stands in the order of relevance.
        rejections: What users disliked and skipped.
    """

    pipeline: OfflinePipeline
    segments: Mapping[str, Segment]
    request_id: str = "evaluation"
    slate_length: int = 10
    rejections: Rejections = NO_REJECTIONS

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """Rank for some users; see `CatalogueRanker.top_items`. Beyond the candidates stands -1."""
        catalogue = self.pipeline.items.catalogue
        row_of = catalogue.row_of
        count = min(count, len(catalogue))
        top = np.full((len(users), count), -1, dtype=np.int32)
        for position, user in enumerate(users.tolist()):
            user_id = histories.user_ids[user]
            history = tuple(catalogue.item_ids[row] for row in histories.of(user).tolist())
            state = self.rejections.state(user_id, self.segments.get(user_id, Segment()), history)
            seen = frozenset(history)
            answer = self.pipeline.recommend(state, count, self.request_id, slate_length=self.slate_length)
            rows = [row_of[item_id] for item_id in answer.item_ids if item_id not in seen]
            top[position, : len(rows)] = rows
        return top


def _run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without an event loop, so that it works inside one too."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a stage of the offline pipeline waited for something; it must answer at once")
