"""Model cards of this spoke: trains a stage, measures what came out, and writes the card beside the artifact.

The card is part of the artifact. The time and memory on it differ from run to run, so a version's digest does
too: reuse must go by the fingerprints of data and settings, never by the digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import UserState
from services.recommendations.evaluation.held_out_users import HeldOutUser, held_out_users
from services.recommendations.evaluation.request_sample import RequestSample
from services.recommendations.evaluation.short_histories import ShortHistories, measure_cold_start
from services.recommendations.evaluation.slate_exposure import (
    SLATE_LENGTH,
    SlateComparison,
    compare_slates,
    slate_requests,
)
from services.recommendations.evaluation.stage_latency import (
    TIMED_CALLS,
    cold_start_latency,
    ranking_latency,
    ranking_requests,
    reranking_latency,
    retrieval_latency,
)
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.jobs.model_card_texts import STAGE_TEXTS
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import RANKING_TEACHER, TrainingInput
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelSpec
from streamrec.datasets.dataset import SEGMENT_COLUMNS
from streamrec.training.baselines import BASELINES
from streamrec.training.evaluation import CatalogueRanker, evaluate
from streamrec.training.model_card import (
    CARD_DATA_FILE,
    CARD_TEXT_FILE,
    CallLatency,
    FigureRow,
    FigureTable,
    ModelCard,
    TrainingData,
    card_json,
    card_markdown,
    evaluation_tables,
)
from streamrec.training.training_cost import TrainingCost, measured

CARD_USERS: Final = 1_000
"""Users whose test items the figures by group come from."""

TEACHER_CARD_USERS: Final = 500
"""Users of the teacher's card: it takes milliseconds to rank the whole catalogue for one of them."""

SLOW_CARD_USERS: Final = 300
"""Users where each needs several answers."""

_SPLIT: Final = (
    "leave-last-out: trained on all but each user's last two interactions, chosen on the second-last "
    "(validation), measured here on the last (test)"
)


@dataclass(frozen=True)
class Measurements:
    """What was found out about an artifact after its training."""

    tables: tuple[FigureTable, ...]
    latencies: tuple[CallLatency, ...]


@dataclass(frozen=True)
class TrainedStage:
    """An artifact that is to be measured.

    Attributes:
        training: What it was trained on.
        folder: Where the artifact lies.
        upstream: Artifact folders of the versions below it, by stage.
        test_requests: What the re-ranker is given under test.
    """

    training: TrainingInput
    folder: Path
    upstream: Mapping[str, Path]
    test_requests: Callable[[], RequestSample] | None

    @cached_property
    def users(self) -> list[HeldOutUser]:
        """Users to measure on, drawn by the seed of training."""
        training = self.training
        return held_out_users(training.dataset, training.split, count=CARD_USERS, seed=training.seed)

    @property
    def timed(self) -> list[UserState]:
        """Users whose calls are timed."""
        return [user.state for user in self.users[:TIMED_CALLS]]


def train_with_card(
    stage: str,
    training: TrainingInput,
    train: Callable[[Path], ModelSpec],
    output: Path,
    *,
    settings_fingerprint: str,
    upstream: Mapping[str, Path],
    test_requests: Callable[[], RequestSample] | None = None,
) -> ModelSpec:
    """Train a stage into ``output``, measure it, and write its card there.

    Args:
        stage: Which.
        training: What it is trained on.
        train: Writes the artifact into a folder and describes it.
        output: Folder for the artifact and the card.
        settings_fingerprint: Of settings, seed, code and the versions below; goes into the returned spec.
        upstream: Artifact folders of the versions below, by stage; cold start needs ``retrieval``.
        test_requests: Makes requests as far as the re-ranker, with each user's test item held out; the card
            of ``reranking`` needs it.

    Returns:
        What ``train`` returned, with the fingerprint.

    Raises:
        InvalidInputError: There is no card for such a stage.
        Exception: Whatever ``train`` raises; then no card is written.
    """
    if stage not in STAGE_TEXTS:
        raise InvalidInputError("stage", f"{stage!r} has no model card")
    spec, cost = measured(lambda: train(output), interactions=len(training.split.train.items))
    spec = replace(spec, settings_fingerprint=settings_fingerprint)
    training.progress.start(f"{stage.replace('_', ' ')}: model card", 1)
    trained = TrainedStage(training, output, upstream, test_requests)
    nobody = Measurements((), ())
    found = _MEASUREMENTS[stage](trained) if trained.users else nobody
    write_card(model_card(stage, training, spec, cost, found), output)
    training.progress.advance()
    training.progress.finish()
    return spec


def model_card(
    stage: str, training: TrainingInput, spec: ModelSpec, cost: TrainingCost, found: Measurements
) -> ModelCard:
    """Put the card of a stage together."""
    dataset = training.dataset
    registered = FigureTable(
        "Registered by training",
        tuple(FigureRow(name, None, {"value": value}) for name, value in spec.metrics.items()),
        "Single numbers without intervals, as they stand in the registry.",
    )
    return ModelCard(
        name=spec.name,
        purpose=STAGE_TEXTS[stage].purpose,
        data=TrainingData(
            fingerprint=spec.data_fingerprint,
            user_count=len(dataset.users),
            item_count=len(dataset.catalogue),
            interaction_count=len(dataset.interactions),
            split=_SPLIT,
        ),
        seed=training.seed,
        settings_fingerprint=spec.settings_fingerprint,
        settings=spec.parameters,
        tables=(*found.tables, registered),
        limits=STAGE_TEXTS[stage].limits,
        cost=cost,
        latencies=found.latencies,
        depends_on={role: str(ref) for role, ref in spec.depends_on.items()},
    )


def write_card(card: ModelCard, folder: Path) -> None:
    """Write the card into an artifact's folder, once for people and once for programs.

    Raises:
        ValueError: A figure is not finite.
    """
    text = json.dumps(card_json(card), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    (folder / CARD_DATA_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_TEXT_FILE).write_text(card_markdown(card), encoding="utf-8")


def _of_top_items(
    trained: TrainedStage, model: CatalogueRanker, users: int = CARD_USERS
) -> tuple[FigureTable, ...]:
    """Ranking metrics, by group, beside popularity."""
    training = trained.training
    split, seed = training.split, training.seed
    by_user = segments_by_user(training.dataset)
    attributes = {
        name: [getattr(by_user[user_id], name) for user_id in split.history.user_ids]
        for name in SEGMENT_COLUMNS
    }
    # An attribute that is the same for everyone, such as "unknown", has no groups to compare.
    told = {name: values for name, values in attributes.items() if len(set(values)) > 1}
    popularity = BASELINES["popularity"](split.train, len(split.catalogue))
    return evaluation_tables(
        evaluate(model, split, seed=seed, max_users=users, user_attributes=told),
        {"popularity": evaluate(popularity, split, seed=seed, max_users=users)},
    )


def _measure_retrieval(trained: TrainedStage) -> Measurements:
    training, retriever = trained.training, TwoTowerRetriever.load(trained.folder)
    model = RetrieverAsCatalogueRanker(
        retriever, training.split.catalogue, segments_by_user(training.dataset)
    )
    return Measurements(_of_top_items(trained, model), (retrieval_latency(retriever, trained.timed),))


def _measure_ranker(trained: TrainedStage, ranker: RankingModel | StudentRanker, users: int) -> Measurements:
    training = trained.training
    requests = ranking_requests(trained.timed, training.split.catalogue.item_ids, seed=training.seed)
    model = RankerAsCatalogueRanker(ranker, segments_by_user(training.dataset))
    return Measurements(_of_top_items(trained, model, users), (ranking_latency(ranker, requests),))


def _measure_cold_start(trained: TrainedStage) -> Measurements:
    training = trained.training
    model = ColdStartModel.load(trained.folder, ItemIndex.load(trained.upstream["retrieval"]))
    users = _spread(trained.users, SLOW_CARD_USERS)
    found = measure_cold_start(model, users, training.dataset, training.split, seed=training.seed)
    newcomers = [replace(user, history=user.history[-5:]) for user in trained.timed]
    return Measurements((_short_history_table(found, len(users)),), (cold_start_latency(model, newcomers),))


def _measure_reranking(trained: TrainedStage) -> Measurements:
    if trained.test_requests is None:
        raise InvalidInputError("test_requests", "the card of re-ranking is measured on requests: give them")
    reranker = DiversityReranker.load(trained.folder)
    requests = slate_requests(trained.test_requests())
    catalogue, seed = trained.training.split.catalogue, trained.training.seed
    timed = [(request.user, request.candidates) for request in requests[:TIMED_CALLS]]
    found = compare_slates(reranker, requests, catalogue, seed=seed)
    return Measurements((_slate_table(found),), (reranking_latency(reranker, timed),))


def _short_history_table(found: ShortHistories, users: int) -> FigureTable:
    rows = {"0 to 5 interactions together": found.overall} | {
        f"{length} known interactions": figures for length, figures in found.by_history_length.items()
    }
    return FigureTable(
        "By number of interactions known",
        tuple(
            FigureRow(
                name,
                users if name.startswith("0 to") else figures.cases,
                {
                    "ndcg@10": figures.model,
                    "popularity per segment": figures.popularity_per_segment,
                    "gain": figures.gain,
                },
            )
            for name, figures in rows.items()
        ),
        "NDCG@10 of the test item, the whole catalogue ranked, histories cut to their last interactions, all "
        "that the user has seen filtered. 95 % bootstrap intervals over users; the gain is paired.",
    )


def _slate_table(found: SlateComparison) -> FigureTable:
    parts = (
        ("all traffic", found.traffic),
        ("whole histories", found.whole_histories),
        ("histories cut to 0 to 4", found.shortened_histories),
    )
    rows = [
        FigureRow(
            f"{name}: {way}",
            change.users,
            {
                "ndcg@10": slates.ndcg,
                "ndcg@10 lost": change.ndcg_loss if slates is change.after else None,
                "creator-language Gini": slates.language_gini,
                "creator Gini": slates.creators.gini if slates.creators else None,
                "share of creators exposed": slates.creators.exposed_share if slates.creators else None,
            },
        )
        for name, change in parts
        if change is not None
        for way, slates in (("relevance order", change.before), ("re-ranked", change.after))
    ]
    return FigureTable(
        "Before and after re-ranking",
        tuple(rows),
        f"Slates of {SLATE_LENGTH} for the same requests under test; histories cut to 0 to 4 "
        "interactions stand for new users, and are not those of new users. 95 % bootstrap intervals over "
        "users; the loss is paired.",
    )


def _spread(users: Sequence[HeldOutUser], count: int) -> list[HeldOutUser]:
    return list(users[:: max(1, len(users) // count)][:count])


_MEASUREMENTS: Final[Mapping[str, Callable[[TrainedStage], Measurements]]] = {
    "retrieval": _measure_retrieval,
    RANKING_TEACHER: lambda trained: _measure_ranker(
        trained, RankingModel.load(trained.folder), TEACHER_CARD_USERS
    ),
    "ranking": lambda trained: _measure_ranker(trained, StudentRanker.load(trained.folder), CARD_USERS),
    "cold_start": _measure_cold_start,
    "reranking": _measure_reranking,
}
