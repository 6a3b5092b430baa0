"""Odd histories, users, items and candidates: every model and the whole pipeline have a defined answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.jobs.training import SERVED_STAGES, TrainingJob, TrainingSettings
from services.recommendations.pipeline.local_models import load_models
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.ranking.model import RankingModel
from services.recommendations.training.input import RANKING_TEACHER
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features.store import ItemTable
from streamrec.registry.memory_registry import MemoryModelRegistry

ITEMS, USERS, K = 120, 60, 10
BARE = "i-bare"
"""Published without topics, creator, language or time, and never touched by anyone."""


def odd_dataset(folder: Path) -> Dataset:
    """Users walk through the catalogue; half of the items are bare of some attribute."""
    rng = np.random.default_rng(8)
    rows = [
        (f"u{user:02}", f"i{(start + step) % ITEMS:03}", 60 * step)
        for user, start in enumerate(rng.integers(ITEMS, size=USERS).tolist())
        for step in range(12)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    frame["timestamp"] = pd.to_datetime(frame.pop("second"), unit="s", utc=True)
    users = pd.DataFrame({"user_id": [f"u{user:02}" for user in range(USERS)]})
    users["country"] = ["FI" if user % 2 else "IN" for user in range(USERS)]
    users["language"] = ["fi" if user % 2 else "hi" for user in range(USERS)]
    users["age_band"] = users["signup_channel"] = "unknown"
    users["signed_up_at"] = pd.NaT
    count = ITEMS + 1
    catalogue = Catalogue(
        item_ids=(*(f"i{item:03}" for item in range(ITEMS)), BARE),
        titles=("",) * count,
        creator_ids=(*(f"c{item // 6}" if item % 3 else "unknown" for item in range(ITEMS)), "unknown"),
        creator_languages=(*(("fi", "hi", "unknown")[item % 3] for item in range(ITEMS)), "unknown"),
        topics=(*(() if item % 5 == 0 else (f"t{item // 20}",) for item in range(ITEMS)), ()),
        published_at=np.array(
            [*("NaT" if item % 2 else "2020-01-01" for item in range(ITEMS)), "NaT"], dtype="datetime64[s]"
        ),
    )
    (folder / "interactions.parquet").write_bytes(b"fingerprinted, not read")
    return Dataset(folder, catalogue, frame.sort_values("timestamp", kind="stable"), users)


def small(settings: TrainingSettings) -> TrainingSettings:
    teacher, student = settings.ranking_teacher, settings.ranking
    brief = replace(teacher.optimisation.pools, maximum_epochs=1)
    return replace(
        settings,
        retrieval=replace(settings.retrieval, dimension=16, epoch_count=2, uniform_negative_count=64),
        ranking_teacher=replace(
            teacher,
            network=replace(teacher.network, dimension=16, layer_count=1),
            optimisation=replace(teacher.optimisation, pools=brief, joint=brief),
        ),
        ranking=replace(
            student,
            network=replace(student.network, dimension=16, head_count=2, history_length=10, hidden_size=32),
            distillation=replace(
                student.distillation, minimum_labels=200, epochs=1, top_count=40, sample_count=40
            ),
        ),
        cold_start=replace(
            settings.cold_start, hierarchy_dimensions=1, tune=250, draws=400, minimum_language_interactions=50
        ),
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> TrainingJob:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("odd")
    (root / "data").mkdir()
    dataset = odd_dataset(root / "data")
    registry = MemoryModelRegistry(root / "registry")
    return TrainingJob(dataset, registry, root / "work", 3, SilentProgress(), small(TrainingSettings()))


@pytest.fixture(scope="module")
def models(job) -> LocalModels:
    return load_models(job.registry, {stage: job.version(stage) for stage in SERVED_STAGES})


@pytest.fixture(scope="module")
def pipeline(job, models) -> OfflinePipeline:
    catalogue = job.dataset.catalogue
    counts = np.bincount(job.split.history.items, minlength=len(catalogue)).astype(np.int64)
    return OfflinePipeline(models, ItemTable(catalogue, counts, "revision"))


@pytest.fixture(scope="module")
def teacher(job) -> RankingModel:
    return RankingModel.load(job.registry.fetch(job.version(RANKING_TEACHER)))


def user(*history: str, **segment: str) -> UserState:
    return UserState("someone", Segment(**segment), history)


def items(*rows: int) -> tuple[str, ...]:
    return tuple(f"i{row:03}" for row in rows)


UNKNOWN_ONLY = tuple(f"gone-{number}" for number in range(50))
KNOWN = items(3, 4, 5, 6, 7, 8, 9)
MIXED = ("gone-1", *KNOWN[:3], "", "gone-2", *KNOWN[3:], "gone-3")
TEN_THOUSAND = tuple(f"i{number % 100:03}" for number in range(10_000))
HISTORIES = {
    "empty": (),
    "unknown items only": UNKNOWN_ONLY,
    "some unknown items": MIXED,
    "one item again and again": items(5) * 30,
    "an item without anything": (BARE,) * 6,
    "ten thousand events": TEN_THOUSAND,
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize(
    "segment", [Segment(), Segment("FI", "fi"), Segment("Atlantis", "klingon", "?", "?")]
)
def test_the_pipeline_answers_every_user(pipeline, history, segment):
    someone = UserState("someone", segment, history)
    answer = pipeline.recommend(someone, K, "r")
    assert len(answer.item_ids) == len(set(answer.item_ids)) == K
    assert set(answer.item_ids) <= set(pipeline.items.catalogue.item_ids) - set(history)
    assert np.isfinite(answer.scores).all()
    assert answer.rung is Rung.RANKED
    assert not answer.skipped
    assert pipeline.recommend(someone, K, "r") == answer


def test_unknown_items_are_as_if_they_were_not_there(pipeline):
    def slate(*history: str) -> tuple[str, ...]:
        return pipeline.recommend(user(*history, language="fi"), K, "r").item_ids

    assert slate(*UNKNOWN_ONLY) == slate()
    assert slate(*MIXED) == slate(*KNOWN)


def test_a_segment_nobody_has_seen_is_an_unknown_one(pipeline):
    for history in ((), KNOWN):
        known = pipeline.recommend(UserState("someone", Segment(), history), K, "r")
        unseen = pipeline.recommend(UserState("someone", Segment("Atlantis", "klingon"), history), K, "r")
        assert unseen.item_ids == known.item_ids


def test_of_a_long_history_the_newest_part_counts(pipeline):
    whole = pipeline.recommend(user(*TEN_THOUSAND), K, "r")
    newest = pipeline.recommend(user(*TEN_THOUSAND[-HISTORY_LIMIT:]), K, "r")
    assert whole.item_ids == newest.item_ids


def test_whoever_has_seen_everything_gets_something_popular(pipeline):
    everything = pipeline.items.catalogue.item_ids
    answer = pipeline.recommend(user(*everything), K, "r")
    assert len(answer.item_ids) == K
    assert answer.rung is not Rung.RANKED
    one_left = pipeline.recommend(user(*everything[1:]), K, "r")
    assert one_left.item_ids == everything[:1]


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_each_stage_answers_alone(models, teacher, history):
    someone = user(*history, country="IN")
    seen = set(history) & set(models.retrieval.index.item_ids)
    found = models.retrieval.retrieve(someone, 40)
    drawn = models.cold_start.retrieve(someone, 40, np.random.default_rng(1))
    for candidates in (found, drawn):
        assert len(candidates) == min(40, ITEMS + 1 - len(seen))
        assert len(set(candidates.item_ids)) == len(candidates)
        assert not set(candidates.item_ids) & set(history)
        assert np.isfinite(candidates.scores).all()
        assert (np.diff(candidates.scores) <= 0).all()
    for ranker in (models.ranking, teacher):
        ranked = ranker.rank(someone, found)
        assert sorted(ranked.item_ids) == sorted(found.item_ids)
        assert np.isfinite(ranked.scores).all()
        slate = models.reranking.rerank(ranked, someone, 0.0, slate_length=K)
        assert sorted(slate.item_ids) == sorted(found.item_ids)
        assert np.isfinite(slate.scores).all()


def test_a_bare_item_can_be_found_ranked_and_shown(models, teacher):
    someone = user(*KNOWN)
    everything = models.retrieval.retrieve(someone, ITEMS + 1)
    assert BARE in everything.item_ids
    for ranker in (models.ranking, teacher):
        ranked = ranker.rank(someone, everything)
        assert np.isfinite(ranked.scores[ranked.item_ids.index(BARE)])
        assert BARE in models.reranking.rerank(ranked, someone, 0.0, slate_length=K).item_ids


def test_unknown_candidates_come_last(models, teacher):
    candidates = Candidates(("gone-1", *items(1, 2), "gone-2"), np.linspace(1, 0, 4, dtype=np.float32))
    for ranker in (models.ranking, teacher):
        assert ranker.rank(user(*KNOWN), candidates).item_ids[2:] == ("gone-1", "gone-2")
    nothing_known = Candidates(("gone-1", "gone-2"), np.zeros(2, dtype=np.float32))
    for ranker in (models.ranking, teacher):
        assert ranker.rank(user(*KNOWN), nothing_known).item_ids == ("gone-1", "gone-2")


def test_repeated_candidates_stay_as_often_as_they_came_and_score_the_same(models, teacher):
    ids = items(1, 2, 1, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 20)
    candidates = Candidates(ids, np.linspace(1, 0, len(ids), dtype=np.float32))
    for ranker in (models.ranking, teacher):
        ranked = ranker.rank(user(*KNOWN), candidates)
        assert Counter(ranked.item_ids) == Counter(ids)
        scores: dict[str, set[float]] = {}
        for item_id, score in zip(ranked.item_ids, ranked.scores.tolist(), strict=True):
            scores.setdefault(item_id, set()).add(score)
        # But for the last bit: a matrix product rounds by the row.
        assert all(max(values) - min(values) < 1e-5 for values in scores.values())
        shown = models.reranking.rerank(ranked, user(*KNOWN), 0.0, slate_length=K)
        assert Counter(shown.item_ids) == Counter(ids)


def test_no_candidates_are_no_candidates(models, teacher):
    none = Candidates((), np.empty(0, dtype=np.float32))
    for ranker in (models.ranking, teacher):
        assert len(ranker.rank(user(*KNOWN), none)) == 0
    assert len(models.reranking.rerank(none, user(*KNOWN), 0.0, slate_length=K)) == 0
