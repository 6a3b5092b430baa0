"""`streamrec data erase` on a workspace with events, features and data."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.composition import erasure_files, materialize_features, open_feature_store
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.progress import SilentProgress
from streamrec.erasure import erased_persons
from streamrec.events.file_event_log import FileEventLog
from tests.contract.test_feature_store import small_dataset
from tests.made_events import an_impression, an_outcome


@pytest.fixture(autouse=True)
def nobody_follows(monkeypatch):
    monkeypatch.setattr(erased_persons, "FOLLOWED_WITHIN_S", 0.0)


@pytest.fixture
def place(tmp_path) -> Workspace:
    workspace = Workspace(tmp_path / "var")
    dataset = small_dataset()
    folder = workspace.data / "small"
    folder.mkdir(parents=True)
    dataset.interactions.to_parquet(folder / "interactions.parquet")
    dataset.users.to_parquet(folder / "users.parquet")
    log = FileEventLog(workspace.events)
    log.append(
        [an_impression(1, unit="ann"), an_outcome(1, unit="ann", item_id="item-0"), an_outcome(2, unit="bob")]
    )
    log.close()
    materialize_features(workspace, dataset, None, SilentProgress())
    return workspace


def run(place, *arguments):
    file = place.root.parent / "result.json"
    result = CliRunner().invoke(
        app, ["data", "erase", "--workspace", str(place.root), "--json", str(file), *arguments]
    )
    return result.exit_code, json.loads(file.read_text())


def test_a_person_goes_from_everything_and_a_second_run_proves_it(place):
    status, before = run(place, "--user", "ann", "--check")
    assert status == 3
    assert {reason["code"] for reason in before["reasons"]} == {"not_erased", "person_left"}
    left = {store["name"]: store["left"] for store in before["stores"]}
    # Ann's interactions and profile, in the data and in the offline features.
    assert (left["event log"], left["online features"] > 0, left["files of the workspace"] >= 8) == (
        2,
        True,
        True,
    )

    status, first = run(place, "--user", "ann")
    assert (status, first["verdict"], first["reasons"]) == (0, "passed", [])
    assert {store["name"]: store["removed"] for store in first["stores"]} == left
    assert "ann" not in json.dumps(first).replace("annot", "")

    status, second = run(place, "--user", "ann")
    assert (status, second["verdict"]) == (0, "passed")
    assert [(store["removed"], store["left"]) for store in second["stores"]] == [(0, 0)] * 3
    assert run(place, "--user", "ann", "--check")[0] == 0
    assert erasure_files(place).follow().is_erased("ann")

    store = open_feature_store(place)
    assert store.user_features("ann") is None
    assert store.user_features("bob") is not None
    store.close()
    assert set(load_users(place)) == {"bob", "cleo"}


def load_users(place):
    import pandas as pd

    return pd.read_parquet(place.data / "small" / "users.parquet")["user_id"]


def test_a_materialisation_of_a_table_from_elsewhere_does_not_bring_the_person_back(place):
    assert run(place, "--user", "ann")[0] == 0
    materialize_features(place, small_dataset(), None, SilentProgress())
    assert run(place, "--user", "ann", "--check")[0] == 0


def test_features_that_cannot_be_looked_through_are_no_proof(place):
    (place.features / "generation.json").write_text("{")
    status, result = run(place, "--user", "ann")
    assert (status != 0, result["verdict"]) == (True, "error")
    assert {reason["path"] for reason in result["reasons"]} == {"online features"}


@pytest.mark.parametrize("arguments", [["--user", ""], ["--user", "ann", "--workspace", "/nowhere/at/all"]])
def test_wrong_input_is_refused(place, arguments):
    result = CliRunner().invoke(app, ["data", "erase", "--workspace", str(place.root), *arguments])
    assert result.exit_code == 2
