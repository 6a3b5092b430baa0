from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from services.ads.clicks.model_folder import VALIDATION_FROM, write_model_folder
from services.ads.clicks.predictor import load
from services.ads.clicks.simulated_clicks import simulated_clicks
from services.ads.clicks.training import SHOWN_FILE, train
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.gates.model_folders import ModelFolder
from streamrec.training.training_rows import TrainingRows


@pytest.fixture
def shown():
    return simulated_clicks(np.random.default_rng(1), shown=2_000, users=200)


def test_a_model_orders_what_comes_later_and_says_what_it_was_trained_on(tmp_path, shown):
    shown.to_parquet(tmp_path / SHOWN_FILE)
    train(tmp_path, VALIDATION_FROM, tmp_path / "artifact")
    later = shown[shown["at"] >= VALIDATION_FROM]
    scores = load(tmp_path / "artifact", {}).predict(later)["score"].to_numpy()
    clicked = later["label"].to_numpy() == 1.0
    # Of a clicked and another advertisement the clicked one is ahead this often (Mann-Whitney).
    assert (scores[clicked][:, None] > scores[~clicked]).mean() > 0.75
    assert TrainingRows.read(tmp_path / "artifact").count == len(shown) - len(later)


def test_what_comes_later_does_not_count(tmp_path, shown):
    shown.to_parquet(tmp_path / SHOWN_FILE)
    with pytest.raises(DataFolderError, match="are needed"):
        train(tmp_path, datetime(2025, 1, 1, tzinfo=UTC), tmp_path / "artifact")


@pytest.mark.parametrize("column", ["unit", "label", "relevance"])
def test_a_missing_column_is_named(tmp_path, shown, column):
    shown.drop(columns=column).to_parquet(tmp_path / SHOWN_FILE)
    with pytest.raises(DataFolderError, match=f"'{column}'"):
        train(tmp_path, VALIDATION_FROM, tmp_path / "artifact")


def test_a_folder_holds_what_registering_needs_and_is_not_written_twice(tmp_path):
    folder = tmp_path / "ads-clicks"
    write_model_folder(folder, seed=2)
    read = ModelFolder.read(folder)
    assert (read.specification.name, read.specification.slot) == ("ads-clicks", "ads.clicks")
    table = pd.read_parquet(folder / read.specification.evaluation.requests)
    assert sorted(table["split"].unique()) == ["train", "validation"]
    assert (read.artifact / "weights.npz").is_file()
    with pytest.raises(InvalidInputError, match="new or empty"):
        write_model_folder(folder, seed=2)
