from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamrec.command_line.composition import (
    erasure_files,
    materialize_features,
    open_event_log,
    with_items_of_log,
)
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset, users_frame
from streamrec.erasure.datasets import without_erased
from streamrec.erasure.erased_persons import record_erasure
from streamrec.features import materialization
from tests.made_events import an_impression


@pytest.fixture
def dataset() -> Dataset:
    catalogue = Catalogue(("a",), ("A",), ("x",), ("en",), ((),), np.array(["NaT"], "datetime64[s]"))
    times = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"], utc=True).as_unit("ns")
    interactions = pd.DataFrame({"user_id": ["ann", "bob", "ann"], "item_id": "a", "timestamp": times})
    users = pd.DataFrame({"user_id": ["ann", "bob"], "country": "FR", "language": "fr"})
    return Dataset(Path(), catalogue, interactions, users)


def test_an_erased_user_is_left_out_and_the_fingerprint_says_so(dataset):
    kept = without_erased(dataset, lambda user_id: user_id == "ann")
    assert list(kept.interactions["user_id"]) == ["bob"]
    assert list(kept.users["user_id"]) == ["bob"]
    assert kept.fingerprint != dataset.fingerprint
    assert without_erased(dataset, lambda _user_id: False) is dataset


def test_what_is_trained_on_in_a_workspace_holds_nobody_who_was_erased_there(dataset, tmp_path):
    place = Workspace(tmp_path)
    record_erasure(erasure_files(place), "ann")
    assert list(with_items_of_log(place, dataset).users["user_id"]) == ["bob"]


def test_features_hold_nobody_who_was_erased_whatever_the_event_log_still_holds(
    dataset, tmp_path, monkeypatch
):
    place = Workspace(tmp_path)
    log = open_event_log(place)
    for number, unit in enumerate(("ann", "eve")):
        log.append([an_impression(number, unit=unit, features={**dict.fromkeys(SEGMENT_COLUMNS, "fi")})])
    log.close()
    record_erasure(erasure_files(place), "ann")
    published = []
    monkeypatch.setattr(
        materialization, "materialize", lambda _settings, kept, *_rest: published.append(kept)
    )
    materialize_features(place, with_all_segments(dataset), None, SilentProgress())
    (kept,) = published
    # Eve has only asked; what she said of herself is known.
    assert list(kept.users["user_id"]) == ["bob", "eve"]
    assert kept.users.set_index("user_id").loc["eve", "country"] == "fi"


def with_all_segments(dataset: Dataset) -> Dataset:
    return replace(dataset, users=users_frame(dataset.users, dataset.interactions))
