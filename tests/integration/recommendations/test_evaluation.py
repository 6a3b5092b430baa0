"""Trains every stage small, and evaluates, plots and describes what came out."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from services.recommendations.cold_start.train import ColdStartSettings
from services.recommendations.commands.evaluation_tables import bars_summary, evaluation_table
from services.recommendations.evaluation.plots import save_plots
from services.recommendations.jobs.evaluated_models import EvaluatedModels
from services.recommendations.jobs.evaluation import CHOICES, evaluate_job, evaluate_models
from services.recommendations.jobs.model_cards import train_with_card
from services.recommendations.jobs.training import STAGES, TrainingJob, TrainingSettings
from services.recommendations.ranking.settings import (
    CombinationSettings,
    FeatureSettings,
    NetworkSettings,
    OptimisationSettings,
    PhaseSettings,
    RankingSettings,
)
from services.recommendations.ranking.student.settings import (
    DistillationSettings,
    StudentNetworkSettings,
    StudentSettings,
)
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelSpec
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import scan
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.training.model_card import CARD_DATA_FILE, CARD_TEXT_FILE

ITEMS, USERS = 150, 160
GENRES = ("comedy", "crime", "nature")


def a_dataset(folder: Path) -> Dataset:
    """Users keep to a genre that their country tells, and walk through its items in order."""
    rng = np.random.default_rng(3)
    per_genre = ITEMS // len(GENRES)
    rows = []
    for user in range(USERS):
        genre = user % len(GENRES)
        places = np.unique(
            (int(rng.integers(per_genre)) + np.cumsum(rng.integers(1, 3, size=14))) % per_genre
        )
        rows += [
            (f"u{user:03}", f"i{genre * per_genre + place:03}", 60 * step)
            for step, place in enumerate(rng.permutation(places) if user % 4 == 0 else places)
        ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    frame["timestamp"] = pd.to_datetime(frame.pop("second"), unit="s", utc=True)
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    catalogue = Catalogue(
        item_ids=tuple(f"i{item:03}" for item in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=tuple(f"c{item // 5}" for item in range(ITEMS)),
        creator_languages=tuple(("en", "en", "fr", "sw")[item % 4] for item in range(ITEMS)),
        topics=tuple((GENRES[item // per_genre],) for item in range(ITEMS)),
        published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    )
    people = pd.DataFrame({"user_id": [f"u{user:03}" for user in range(USERS)]})
    people["country"] = [f"land-of-{GENRES[user % len(GENRES)]}" for user in range(USERS)]
    people["language"] = ["en" if user % 3 else "fr" for user in range(USERS)]
    for column in ("age_band", "signup_channel"):
        people[column] = "unknown"
    people["signed_up_at"] = pd.NaT
    (folder / "interactions.parquet").write_bytes(b"fingerprinted, not read")
    return Dataset(folder, catalogue, frame, people)


def small_settings() -> TrainingSettings:
    phase = PhaseSettings(
        interaction_budget=6_000,
        maximum_epochs=4,
        patience=4,
        batch_interactions=128,
        learning_rate=1e-2,
        weight_decay=0.0,
    )
    return TrainingSettings(
        retrieval=RetrievalSettings(
            dimension=16, history_length=12, epoch_count=5, patience=5, batch_size=128,
            uniform_negative_count=64, learning_rate=0.02,
        ),
        ranking_teacher=RankingSettings(
            network=NetworkSettings(dimension=16, layer_count=1, history_length=10, dropout=0.1),
            optimisation=OptimisationSettings(
                pools=phase, joint=phase, uniform_negative_count=40, popular_negative_count=40
            ),
            features=FeatureSettings(history_length=20, transition_window=3, neighbour_count=20),
            combination=CombinationSettings(negative_count=30),
        ),
        ranking=StudentSettings(
            network=StudentNetworkSettings(dimension=16, head_count=2, history_length=10, hidden_size=32),
            distillation=DistillationSettings(minimum_labels=400, epochs=3, top_count=40, sample_count=64),
        ),
        cold_start=ColdStartSettings(
            hierarchy_dimensions=1, tune=250, draws=400, minimum_language_interactions=50, blend_users=60
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> TrainingJob:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("evaluation")
    (root / "data").mkdir()
    registry = MemoryModelRegistry(root / "registry")
    return TrainingJob(
        a_dataset(root / "data"), registry, root / "work", 3, SilentProgress(), small_settings()
    )


@pytest.fixture(scope="module")
def report(job):
    return evaluate_job(job, CHOICES).to_json()


def test_every_section_is_measured(report):
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert {"models", "breakdowns", "protocol", "comparisons"} <= set(report)
    assert set(report["models"]) >= {"popularity", "ease", "two_tower", "ranker", "student", "pipeline"}
    cold_start, reranking = report["cold_start"], report["reranking"]
    assert list(cold_start["by_history_length"]) == ["0", "1", "2", "3", "4", "5"]
    assert cold_start["overall"]["gain"]["low"] < cold_start["overall"]["gain"]["high"]
    assert [point["nominal"] for point in cold_start["coverage"]][-1] == 0.95
    assert reranking["before"]["creator_language_gini"]["value"] > 0.0
    assert reranking["whole_histories"]["users"] > 100
    assert report["index"]["recall@500"]["value"] == 1.0
    assert report["student"]["student_latency"]["median_ms"] > 0.0
    assert report["student"]["ndcg@10_share"]["value"] > 0.5
    assert {bar["group"] for bar in report["bars"]} >= {"retrieval", "ranking", "cold start", "re-ranking"}


def test_the_table_shows_it_and_the_plots_are_pictures(report, tmp_path):
    text = io.StringIO()
    Console(file=text, width=120).print(evaluation_table(report))
    for part in ("two-tower", "5 known", "language Gini", "met", "missed", "exact search"):
        assert part in text.getvalue(), part
    assert "bars met" in bars_summary(report)
    paths = save_plots(report, tmp_path / "plots")
    assert {path.stem for path in paths} >= {"ranking_metrics", "cold_start", "calibration"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_card_that_the_registry_takes(job, stage, tmp_path):
    version = job.version(stage)
    upstream = {"retrieval": job.registry.fetch(job.version("retrieval"))}
    spec = ModelSpec(
        version.ref.name,
        version.signature,
        version.data_fingerprint,
        "to be replaced",
        version.metrics,
        version.parameters,
        version.depends_on,
    )

    def train(output):
        for file in job.registry.fetch(version).iterdir():
            if file.name not in ("manifest.json", "MLmodel", CARD_TEXT_FILE, CARD_DATA_FILE):
                shutil.copyfile(file, output / file.name)
        return spec

    described = train_with_card(
        stage,
        TrainingInput(job.dataset, job.split, job.seed, job.progress),
        train,
        tmp_path,
        settings_fingerprint="f" * 64,
        upstream=upstream,
        test_requests=lambda: EvaluatedModels(job).requests(40, under_test=True),
    )
    assert described == replace(spec, settings_fingerprint="f" * 64)
    check_formats(tmp_path, scan(tmp_path))
    card = json.loads((tmp_path / CARD_DATA_FILE).read_text())
    text = (tmp_path / CARD_TEXT_FILE).read_text()
    assert card["name"] == version.ref.name
    assert card["data"]["fingerprint"] == job.dataset.fingerprint
    assert card["seed"] == job.seed
    assert len(card["limits"]) >= 4
    assert card["cost_of_training"]["interactions"] == len(job.split.train.items)
    assert card["latency"][0]["p99_ms"] >= card["latency"][0]["median_ms"] > 0.0
    titles = {table["title"] for table in card["metrics"]}
    if stage in ("retrieval", "ranking_teacher", "ranking"):
        assert {"By the user's country", "By creator language of the held-out item"} <= titles
        assert "By the user's age band" not in titles  # the same for everyone
        assert "land-of-comedy" in text
    elif stage == "cold_start":
        assert "By number of interactions known" in titles
    else:
        assert "all traffic: re-ranked" in text


def test_a_training_that_fails_leaves_no_card(job, tmp_path):
    training = TrainingInput(job.dataset, job.split, job.seed, job.progress)

    def fail(_output):
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        train_with_card("retrieval", training, fail, tmp_path, settings_fingerprint="f", upstream={})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInputError, match="sorting"):
        train_with_card("sorting", training, fail, tmp_path, settings_fingerprint="f", upstream={})


def test_only_what_is_asked_for_is_trained_and_measured(tmp_path):
    (tmp_path / "data").mkdir()
    registry = MemoryModelRegistry(tmp_path / "registry")
    report = evaluate_models(
        a_dataset(tmp_path / "data"),
        registry,
        tmp_path / "work",
        models=["popularity", "ease"],
        seed=3,
        progress=SilentProgress(),
    ).to_json()
    assert list(report["models"]) == ["popularity", "ease"]
    assert report["cold_start"] is None
    assert report["bars"] == []
    assert not (tmp_path / "work").exists()
    with pytest.raises(InvalidInputError, match="nonsense"):
        evaluate_models(
            a_dataset(tmp_path / "data"),
            registry,
            tmp_path / "work",
            models=["nonsense"],
            seed=3,
            progress=SilentProgress(),
        )


def test_training_registers_the_card_and_reuse_does_not_depend_on_it(job, tmp_path):
    def card(of, stage):
        return json.loads((of.registry.fetch(of.version(stage)) / CARD_DATA_FILE).read_text())

    assert [card(job, stage)["name"] for stage in STAGES] == [job.version(stage).ref.name for stage in STAGES]
    # Another registry, so everything is trained again in another time: the same recipe, another artifact.
    registry = MemoryModelRegistry(tmp_path / "registry")
    again = TrainingJob(job.dataset, registry, tmp_path / "work", job.seed, job.progress, job.settings)
    first, second = job.version("cold_start"), again.version("cold_start")
    assert first.settings_fingerprint == second.settings_fingerprint
    assert card(job, "cold_start")["identity"] == card(again, "cold_start")["identity"]
    assert first.artifact_digest != second.artifact_digest
