"""What no trainer learns from: every stage refuses it by the name of the column and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from services.recommendations.cold_start import train as cold_start
from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.ranking import train as ranking
from services.recommendations.reranking import train as reranking
from services.recommendations.retrieval import train as retrieval
from services.recommendations.training.checks import check_columns, check_features
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import leave_last_out

ITEMS, USERS = 12, 6


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = [(f"u{user}", f"i{(user + step) % ITEMS:02d}", step) for user in range(USERS) for step in range(5)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions["timestamp"] = pd.to_datetime(interactions["timestamp"], unit="s", utc=True)
    interactions["rating"] = 3.0
    users = pd.DataFrame({"user_id": [f"u{user}" for user in range(USERS)]})
    for column in SEGMENT_COLUMNS:
        users[column] = "unknown"
    users["signed_up_at"] = pd.NaT
    catalogue = Catalogue(
        item_ids=tuple(f"i{item:02d}" for item in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=("unknown",) * ITEMS,
        creator_languages=("unknown",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    return Dataset(tmp_path, catalogue, interactions.sort_values("timestamp", kind="stable"), users)


def training_on(dataset: Dataset, split_of: Dataset) -> TrainingInput:
    return TrainingInput(dataset, leave_last_out(split_of), 1, SilentProgress())


TRAINERS: dict[str, Callable[[TrainingInput, Path], Any]] = {
    "retrieval": lambda training, out: retrieval.train(training, retrieval.RetrievalSettings(), out),
    "ranking": lambda training, out: ranking.train(training, ranking.RankingSettings(), out),
    "cold start": lambda training, out: cold_start.train(
        training,
        cold_start.ColdStartSettings(),
        out,
        index=ItemIndex.build(training.split.catalogue.item_ids, np.eye(ITEMS, dtype=np.float32)),
        retrieval=None,
    ),
    "re-ranking": lambda training, out: reranking.train(
        training, reranking.RerankingSettings(), out, ranked=[], held_out=[]
    ),
}


def with_interaction(column: str, value: object) -> Callable[[Dataset], Dataset]:
    def damage(dataset: Dataset) -> Dataset:
        frame = dataset.interactions.copy()
        if column in ("user_id", "item_id"):
            frame[column] = frame[column].astype(object)
        frame.loc[3, column] = value
        return replace(dataset, interactions=frame)

    return damage


def with_user(column: str, value: object) -> Callable[[Dataset], Dataset]:
    def damage(dataset: Dataset) -> Dataset:
        frame = dataset.users.copy()
        frame[column] = frame[column].astype(object)
        frame.loc[3, column] = value
        return replace(dataset, users=frame)

    return damage


def with_item(field: str, value: object) -> Callable[[Dataset], Dataset]:
    def damage(dataset: Dataset) -> Dataset:
        values = (*getattr(dataset.catalogue, field)[:-1], value)
        return replace(dataset, catalogue=replace(dataset.catalogue, **{field: values}))

    return damage


DAMAGES = {
    "user_id": with_interaction("user_id", None),
    "item_id": with_interaction("item_id", np.nan),
    "timestamp": with_interaction("timestamp", pd.NaT),
    "rating": with_interaction("rating", np.inf),
    "country": with_user("country", np.nan),
    "language": with_user("language", None),
    "title": with_item("titles", None),
    "creator_id": with_item("creator_ids", np.nan),
    "creator_language": with_item("creator_languages", None),
    "topics": with_item("topics", ("Drama", np.nan)),
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("column", DAMAGES)
def test_every_trainer_refuses_a_damaged_column_by_name(trainer, column, dataset, tmp_path):
    output = tmp_path / "artifact"
    with pytest.raises(DataFolderError, match=rf"column '{column}': 1 values") as refusal:
        TRAINERS[trainer](training_on(DAMAGES[column](dataset), dataset), output)
    assert refusal.value.column == column
    assert not output.exists()


def test_what_may_be_unknown_is_no_damage(dataset):
    check_columns(dataset)  # no topics, creators, languages, times of publication or sign-up
    check_columns(with_interaction("rating", np.nan)(dataset))


def test_features_that_are_not_finite_are_refused_by_name():
    values = np.zeros((4, 5, 3))
    check_features(("age", "popularity", "recency"), values)
    values[2, 4, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"features\.popularity"):
        check_features(("age", "popularity", "recency"), values)


def test_re_ranking_is_not_fitted_on_scores_that_are_not_finite(dataset, tmp_path):
    candidates = Candidates(("i00", "i01"), np.array([1.0, np.nan], dtype=np.float32))
    with pytest.raises(InvalidInputError, match=r"features\.score"):
        reranking.train(
            training_on(dataset, dataset),
            reranking.RerankingSettings(),
            tmp_path,
            ranked=[(UserState("u"), candidates)],
            held_out=["i00"],
        )
