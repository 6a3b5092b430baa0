"""The loop closes while the service runs: a new item is shown, models learn from traffic and go live."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from services.cli.demo.client import RecommendationClient
from services.cli.demo.deployment import DeployedStage, promote_stages
from services.cli.demo.measurements import RequestRecord
from services.cli.demo.summary import TrainedModel
from services.recommendations.commands.composition import training_settings
from services.recommendations.contracts.stages import COLD_START, RETRIEVAL, SLOTS
from services.recommendations.jobs.training import TrainingJob
from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training.histories import segments_by_user
from streamrec.command_line.composition import open_registry
from streamrec.command_line.training_data import TrainingData, read_training_data
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.intervals import Interval
from streamrec.contracts.items import Item
from streamrec.contracts.progress import Progress
from streamrec.datasets.catalogue import Catalogue
from streamrec.items.item_log import FileItemLog
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.serving.retry_budget import RetryBudget
from streamrec.training.evaluation import evaluate, paired_difference
from streamrec.training.splits import leave_last_out

NEW_ITEM: Final = "demo-new-item"
RELEARNED: Final = "trained on the demo's traffic"
"""Why the second versions are asked for, and promoted."""

_ITEM_SLATE: Final = 100
_ITEM_PATIENCE_S: Final = 10.0
_METRIC: Final = "ndcg@10"
_TOGETHER: Final = (RETRIEVAL, COLD_START)
"""Stages of one embedding space: they are trained and promoted together."""


@dataclass(frozen=True)
class NewItem:
    """An item that was put while the service ran.

    Attributes:
        recommended_after_s: From its being put to the first answer that shows it; None if that took too long.
        gone_after_s: From its removal to the first answer without it; None where it was never shown.
        requests: Asked meanwhile.
    """

    recommended_after_s: float | None
    gone_after_s: float | None
    requests: int


@dataclass(frozen=True)
class Relearned:
    """A retriever trained on the event log too, against the one from before the traffic.

    Attributes:
        events_added: Interactions that the event log added to the imported ones.
        before, after: NDCG@10 of each user's newest item, which neither was trained on.
        difference: After minus before, over the same users.
        versions: What was trained.
    """

    events_added: int
    before: Interval
    after: Interval
    difference: Interval
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True)
class PromotedUnderTraffic:
    """A promotion while requests came.

    Attributes:
        requests, errors: Of the time from before the promotion until after it.
        mixed: Answers whose versions do not belong together.
        in_force_after_s: From the command's return to the first answer by the new versions.
    """

    requests: int
    errors: int
    mixed: int
    in_force_after_s: float | None


@dataclass(frozen=True)
class ClosedLoop:
    """All three, and what the gates said of what was trained."""

    new_item: NewItem
    relearned: Relearned
    promotion: PromotedUnderTraffic
    deployed: tuple[DeployedStage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        item, relearned, promotion = self.new_item, self.relearned, self.promotion
        return {
            "new_item": {
                "recommended_after_s": item.recommended_after_s,
                "gone_after_s": item.gone_after_s,
                "requests": item.requests,
            },
            "relearned": {
                "events_added": relearned.events_added,
                "before": relearned.before.to_json(),
                "after": relearned.after.to_json(),
                "difference": relearned.difference.to_json(),
                "versions": [str(version.ref) for version in relearned.versions],
            },
            "promotion": {
                "requests": promotion.requests,
                "errors": promotion.errors,
                "mixed": promotion.mixed,
                "in_force_after_s": promotion.in_force_after_s,
            },
        }


def show_new_item(
    base_url: str, workspace: Workspace, catalogue: Catalogue, histories: Sequence[tuple[str, Sequence[str]]]
) -> NewItem:
    """Put an item like one that a user has just consumed, wait until that user is shown it, and remove it.

    Args:
        base_url: Of the service.
        workspace: Whose item log the service follows.
        catalogue: Names what the user consumed.
        histories: Users with their items, oldest first; the first user with any is asked.
    """
    user_id, history = next((user, items) for user, items in histories if items)
    row = catalogue.row_of[history[-1]]
    log = FileItemLog(workspace.items)
    log.append(
        [
            Item(
                item_id=NEW_ITEM,
                title=f"Like {catalogue.titles[row]}"[:200],
                creator_id=catalogue.creator_ids[row],
                creator_language=catalogue.creator_languages[row],
                topics=catalogue.topics[row],
            )
        ]
    )
    with RecommendationClient(base_url, RetryBudget()) as client:
        shown_after_s, asked = _seconds_until(client, user_id, shown=True)
        log.append([NEW_ITEM])
        gone_after_s, more = _seconds_until(client, user_id, shown=False)
    return NewItem(shown_after_s, None if shown_after_s is None else gone_after_s, asked + more)


def relearn(
    workspace: Workspace, imported: Path, before: Sequence[TrainedModel], seed: int, progress: Progress
) -> Relearned:
    """Train the stages of the embedding space on imported data and event log; compare the retrievers."""
    registry = open_registry(workspace)
    data = read_training_data(workspace, data=None, imported=imported, until=None)
    quick = replace(training_settings(workspace, quick=True), events_until=data.events_until)
    job = TrainingJob(data.dataset, registry, workspace.training, seed, progress, quick)
    versions = tuple(job.version(stage) for stage in _TOGETHER)
    old = next(model.version for model in before if model.stage == RETRIEVAL)
    return _compared(registry, data, old, versions, seed)


def promote_under_traffic(
    base_url: str, workspace: Workspace, versions: Sequence[ModelVersion], users: Sequence[str]
) -> PromotedUnderTraffic:
    """Promote while a client asks without pause, and look at every answer."""
    records: list[tuple[float, RequestRecord]] = []
    stop = threading.Event()

    def ask() -> None:
        with RecommendationClient(base_url, RetryBudget()) as client:
            while not stop.is_set():
                user_id = users[len(records) % len(users)]
                answer = client.recommend(user_id, known_user=True, k=10, context={})
                records.append((time.monotonic(), answer.record))

    client = threading.Thread(target=ask, name="demo-promotion", daemon=True)
    client.start()
    try:
        changed = promote_stages(workspace, versions, RELEARNED)
        returned_s = time.monotonic()
        wanted = {stage: version.ref.version for stage, version in zip(_TOGETHER, versions, strict=True)}
        deadline_s = returned_s + _ITEM_PATIENCE_S
        while time.monotonic() < deadline_s and not _answered_by(records[-20:], wanted):
            time.sleep(0.05)
    finally:
        stop.set()
        client.join()
    old = {slot: ref.version for slot, ref in changed.before.items()}
    sets = [wanted, {stage: old[SLOTS[stage]] for stage in _TOGETHER}] if old else [wanted]
    seen = [
        {stage: record.model_versions[stage] for stage in _TOGETHER}
        for _, record in records
        if set(_TOGETHER) <= record.model_versions.keys()
    ]
    first_s = next((at for at, record in records if _is_by(record, wanted)), None)
    return PromotedUnderTraffic(
        requests=len(records),
        errors=sum(not record.answered for _, record in records),
        mixed=sum(versions not in sets for versions in seen),
        in_force_after_s=None if first_s is None else max(0.0, round(first_s - returned_s, 3)),
    )


def _is_by(record: RequestRecord, wanted: dict[str, int]) -> bool:
    return any(record.model_versions.get(stage) == version for stage, version in wanted.items())


def _answered_by(records: Sequence[tuple[float, RequestRecord]], wanted: dict[str, int]) -> bool:
    return any(_is_by(record, wanted) for _, record in records)


def _seconds_until(client: RecommendationClient, user_id: str, *, shown: bool) -> tuple[float | None, int]:
    """Time to the first answer with the item, or without it, and how often was asked."""
    started_s, asked = time.monotonic(), 0
    while time.monotonic() < started_s + _ITEM_PATIENCE_S:
        answer = client.recommend(user_id, known_user=True, k=_ITEM_SLATE, context={})
        asked += 1
        if answer.record.answered and (NEW_ITEM in answer.record.item_ids) is shown:
            return round(time.monotonic() - started_s, 3), asked
    return None, asked


def _compared(
    registry: ModelRegistry,
    data: TrainingData,
    old: ModelVersion,
    versions: tuple[ModelVersion, ...],
    seed: int,
) -> Relearned:
    split = leave_last_out(data.dataset)
    segments = segments_by_user(data.dataset)
    before, after = (
        evaluate(
            RetrieverAsCatalogueRanker(
                TwoTowerRetriever.load(registry.fetch(version)), split.catalogue, segments
            ),
            split,
            seed=seed,
        )
        for version in (old, versions[0])
    )
    return Relearned(
        events_added=data.events_added,
        before=before.metrics[_METRIC],
        after=after.metrics[_METRIC],
        difference=paired_difference(after, before, _METRIC, seed=seed),
        versions=versions,
    )
