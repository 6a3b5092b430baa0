"""`streamrec recommendations index tune` over a registry of its own."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.commands.composition import index_choice_file, index_notice, training_settings
from services.recommendations.commands.index import tuning_table
from services.recommendations.commands.index_plot import write_tuning_plot
from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.item_index.settings import IndexChoice, IndexKind, IndexSettings, read_choice
from services.recommendations.item_index.tuning_report import TuningLimits
from services.recommendations.jobs.index_tuning import tune_retriever
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.model import TwoTowerRetriever, segment_values
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.towers import TwoTowers
from streamrec.command_line.composition import open_registry
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from tests.promoted import promote

ITEMS, USERS = 900, 60


@pytest.fixture(scope="module")
def case() -> tuple[TwoTowerRetriever, Dataset]:
    """Towers as they start out: enough for an index, which only sees vectors."""
    rng = np.random.default_rng(0)
    item_ids = tuple(f"i{item:03}" for item in range(ITEMS))
    catalogue = Catalogue(
        item_ids, ("",) * ITEMS, ("unknown",) * ITEMS, ("en",) * ITEMS, ((),) * ITEMS,
        np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    )  # fmt: skip
    rows = [
        (f"u{user:02}", item_ids[rng.integers(ITEMS)], step) for user in range(USERS) for step in range(6)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    people = pd.DataFrame({"user_id": [f"u{user:02}" for user in range(USERS)]})
    for column in SEGMENT_COLUMNS:
        people[column] = "unknown"
    people["signed_up_at"] = pd.NaT
    dataset = Dataset(Path("nowhere"), catalogue, frame.sort_values("timestamp", kind="stable"), people)
    vocabulary = ContentVocabulary.build(catalogue, 2)
    towers = TwoTowers(
        vocabulary.encode(catalogue),
        vocabulary,
        segment_values([Segment()]),
        RetrievalSettings(dimension=8, history_length=5),
        torch.Generator().manual_seed(0),
    )
    weights, vectors = towers.export()
    return TwoTowerRetriever(weights, ItemIndex.build(item_ids, vectors)), dataset


@pytest.fixture(scope="module")
def report(case):
    limits = TuningLimits(minimum_recall=0.9, candidate_count=20)
    return tune_retriever(
        *case, limits, query_count=50, item_count=2 * ITEMS, seed=1, progress=SilentProgress()
    )


def test_the_sweep_is_on_the_size_asked_for_with_the_users_there_are(report, case):
    assert report.item_count == 2 * ITEMS
    assert report.exact.recall.n == 25
    assert report.measurements[-1].settings == IndexSettings(exact_limit=0, seed=1)
    with pytest.raises(InvalidInputError, match="item_count"):
        tune_retriever(
            *case, TuningLimits(), query_count=50, item_count=ITEMS - 1, seed=1, progress=SilentProgress()
        )


def test_the_table_marks_the_choice(report):
    text = io.StringIO()
    Console(file=text, width=140).print(tuning_table(report, "retrieval@3"))
    lines = text.getvalue().splitlines()
    assert "1,800 items" in lines[0]
    assert "retrieval@3" in lines[0]
    marked = [line for line in lines if "<- chosen" in line]
    assert len(marked) == 1
    assert report.chosen.label in marked[0]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_a_picture(report, tmp_path: Path, suffix: str):
    path = tmp_path / "new" / f"plot{suffix}"
    write_tuning_plot(report, path)
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_tuning_plot(report, tmp_path / "new" / f"plot{suffix}" / f"below-a-file{suffix}")


def test_training_builds_what_was_chosen_for_the_workspace(tmp_path: Path):
    place = Workspace(tmp_path)
    assert training_settings(place).retrieval == RetrievalSettings()
    assert index_notice(place, 10**6) is None
    choice = IndexChoice(IndexSettings(exact_limit=5, kind=IndexKind.HNSW), 10)
    index_choice_file(place).write_text(json.dumps(choice.to_json()))
    assert training_settings(place).retrieval.index == choice.settings
    assert replace(training_settings(place).retrieval, index=IndexSettings()) == RetrievalSettings()
    assert index_notice(place, 20) is None
    assert "index tune" in (index_notice(place, 21) or "")
    index_choice_file(place).write_text("{}")
    with pytest.raises(ArtifactError, match="index tune"):
        training_settings(place)


def write_folder(folder: Path, dataset: Dataset) -> None:
    from streamrec.datasets.writer import INTERACTIONS_SCHEMA, ITEMS_SCHEMA, dataset_writer

    catalogue, frame = dataset.catalogue, dataset.interactions
    items = [catalogue.item_ids, catalogue.titles, catalogue.creator_ids, catalogue.creator_languages]
    times = pa.array(frame["timestamp"]).cast(INTERACTIONS_SCHEMA.field("timestamp").type)
    with dataset_writer(folder) as writer:
        writer.write_items(pa.table([*map(list, items), [[]] * ITEMS, [None] * ITEMS], schema=ITEMS_SCHEMA))
        writer.append_interactions(
            pa.table([list(frame["user_id"]), list(frame["item_id"]), times], schema=INTERACTIONS_SCHEMA)
        )


def test_the_command_needs_a_champion_and_a_plot_with_a_known_ending(case, tmp_path: Path):
    write_folder(tmp_path / "data", case[1])
    run = [
        "recommendations",
        "index",
        "tune",
        "--data",
        str(tmp_path / "data"),
        "--workspace",
        str(tmp_path / "var"),
    ]
    missing = CliRunner().invoke(app, run)
    assert missing.exit_code == 2
    assert "recommendations.retrieval" in missing.output
    wrong = CliRunner().invoke(app, [*run, "--plot", "plot.jpg"])
    assert wrong.exit_code == 2
    assert "plot.jpg" in wrong.output


def test_the_command_writes_choice_and_figures(case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    retriever, dataset = case
    write_folder(tmp_path / "data", dataset)
    place = Workspace(tmp_path / "var")
    retriever.save(tmp_path / "artifact")
    registry = open_registry(place)
    tensor = TensorSpec("anything", "float32", (1,))
    spec = ModelSpec(
        MODEL_NAMES["retrieval"], ModelSignature((tensor,), (tensor,)), "data", "settings", {}, {}
    )
    ref = registry.register(spec, tmp_path / "artifact").ref
    promote(place.root, registry, ref, slot=SLOTS["retrieval"])
    run = [
        "recommendations", "index", "tune", "--data", str(tmp_path / "data"), "--workspace", str(place.root),
        "--queries", "50", "--json", str(tmp_path / "figures.json"),
    ]  # fmt: skip
    shown = CliRunner().invoke(app, [*run, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "recall@500" in shown.output
    assert not index_choice_file(place).exists()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["retrieval"] == "recommendations-retrieval@1"
    assert figures["measurements"][0]["recall"]["value"] == 1.0
    assert (figures["schema"], figures["verdict"], figures["reasons"]) == (
        "streamrec.index_tuning.v1",
        "passed",
        [],
    )
    assert shown.stdout.splitlines()[-1] == "passed"
    written = CliRunner().invoke(app, run)
    assert written.exit_code == 0, written.output
    choice = read_choice(index_choice_file(place))
    assert choice is not None
    assert choice.item_count == ITEMS
    assert choice.evidence["chosen"]["recall"]["low"] >= 0.99

    # Nothing fits into so little memory: the command says so, and what was chosen before stays.
    monkeypatch.setattr("services.recommendations.commands.index._MEBIBYTE", 1)
    failed = CliRunner().invoke(app, [*run, "--maximum-memory-mib", "100"])
    assert failed.exit_code == 3, failed.output
    assert failed.stdout.splitlines()[-1].startswith(
        "failed: no index measured finds 99.00% within 100 bytes"
    )
    assert json.loads((tmp_path / "figures.json").read_text())["verdict"] == "failed"
    assert read_choice(index_choice_file(place)) == choice
