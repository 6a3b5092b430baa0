"""Compares what was served with the offline pipeline, and asks it for the order before re-ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from services.cli.demo.audience import Visit
from services.cli.demo.client import RecommendationClient
from services.recommendations.contracts.candidates import UserState
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.reranking.relevance_order import RelevanceOrder
from streamrec.contracts.progress import Progress
from streamrec.features.store import ItemTable

CHECKED_USERS: Final = 50
RELEVANCE_ORDER_USERS: Final = 300


@dataclass(frozen=True)
class Agreement:
    """How far served slates are those of the offline pipeline.

    Attributes:
        users: Users asked for.
        compared: Of them, users with a whole answer. One that failed, says that it is degraded or was cut off
            for time is no answer of the whole pipeline; it is counted here by its absence.
        cut_off: Of the others, those whose slate a stage cut off to be in time: what it was then depends on
            how busy the machine was. One that failed or is degraded is not among them.
        identical: Compared users with the same items in the same order.
        overlap: Mean share of the offline slate's items that were served; None where nothing was compared.
    """

    users: int
    compared: int
    identical: int
    overlap: float | None
    cut_off: int = 0

    def to_json(self) -> dict[str, Any]:
        """As `summary.json` has it; ``share`` is of the compared users."""
        return {
            "share": self.identical / self.compared if self.compared else None,
            "users": self.users,
            "compared": self.compared,
            "identical": self.identical,
            "overlap": self.overlap,
            "cut_off": self.cut_off,
        }


def warm_up(client: RecommendationClient, visits: Sequence[Visit], *, k: int) -> None:
    """Ask once for each visit and forget the answers, so that what replicas load late is loaded."""
    for visit in visits:
        client.recommend(visit.user_id, known_user=visit.known_user, k=k, context=visit.context)


def compare_with_offline(
    client: RecommendationClient,
    pipeline: OfflinePipeline,
    users: Sequence[UserState],
    progress: Progress,
    *,
    k: int,
) -> Agreement:
    """Ask the service for each user, then the offline pipeline with the same request id.

    Must run before any event changes a history. Models and features are those that the service has; what
    can differ is the way through it: another process, JSON, feature store and deadlines.
    """
    progress.start("served against offline", len(users))
    identical = cut_off = 0
    overlaps: list[float] = []
    for user in users:
        answer = client.recommend(user.user_id, known_user=True, k=k, context={})
        if answer.request_id is None or answer.record.degraded:
            pass  # counted by its absence
        elif not answer.record.in_full:
            cut_off += 1
        else:
            expected = pipeline.recommend(user, k, answer.request_id).item_ids
            identical += answer.record.item_ids == expected
            overlaps.append(len(set(answer.record.item_ids) & set(expected)) / max(1, len(expected)))
        progress.advance()
    apart = f"; {cut_off} were cut off by the clock" if cut_off else ""
    progress.finish(f"{identical} of {len(overlaps)} slates identical{apart}")
    overlap = float(np.mean(overlaps)) if overlaps else None
    return Agreement(len(users), len(overlaps), identical, overlap, cut_off)


def relevance_order_slates(
    models: LocalModels, items: ItemTable, users: Sequence[UserState], progress: Progress, *, k: int
) -> list[tuple[str, ...]]:
    """Return each user's slate without re-ranking."""
    pipeline = OfflinePipeline(replace(models, reranking=RelevanceOrder()), items)
    progress.start("slates in relevance order", len(users))
    slates = []
    for user in users:
        slates.append(pipeline.recommend(user, k, "relevance-order").item_ids)
        progress.advance()
    progress.finish()
    return slates
