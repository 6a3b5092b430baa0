"""`streamrec items` on a workspace without an import."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.items import Item
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.datasets.item_changes import catalogue_of
from streamrec.features.names import OFFLINE_FOLDER
from streamrec.features.tables import build_feature_tables


@pytest.fixture
def run(tmp_path):
    return lambda *arguments: CliRunner().invoke(
        app, ["items", *arguments, "--workspace", str(tmp_path / "workspace")]
    )


def test_an_item_is_put_listed_shown_and_removed(run, tmp_path):
    put = run(
        "put", "--id", "i-1", "--title", "Dune", "--language", "en", "--topic", "Space", "--topic", "Drama"
    )
    assert put.exit_code == 0, put.output
    assert "now at revision 1" in put.stdout
    listed = run("list")
    assert "1 of 1 items; the item log is at revision 1" in listed.stdout
    assert "Dune" in listed.stdout
    shown = run("show", "i-1")
    assert "Space, Drama" in shown.stdout
    run("put", "--id", "i-2", "--title", "Arrival")
    assert "1 of 2 items" in run("list", "--search", "arr").stdout
    assert "1 more" in run("list", "--limit", "1").stdout
    report = tmp_path / "report.json"
    assert run("remove", "i-1", "--json", str(report)).exit_code == 0
    document = json.loads(report.read_text())
    assert (document["verdict"], document["entries"], document["revision"]) == ("passed", 1, 3)
    gone = run("show", "i-1")
    assert gone.exit_code == 2
    assert "it was removed at" in gone.stderr


def test_what_is_not_in_the_catalogue_is_not_removed(run):
    run("put", "--id", "i-1")
    refused = run("remove", "i-1", "i-2")
    assert refused.exit_code == 2
    assert "no item 'i-2'" in refused.stderr
    assert "1 of 1 items" in run("list").stdout


def test_a_file_is_put_whole_or_not_at_all(run, tmp_path):
    file, report = tmp_path / "new.csv", tmp_path / "report.json"
    file.write_text("item_id,published_at\na,2024-01-01\nb,2024-01-01T00:00:00Z\n")
    refused = run("put", str(file), "--json", str(report))
    assert refused.exit_code == 3
    document = json.loads(report.read_text())
    assert [reason["code"] for reason in document["reasons"]] == ["nothing_put", "row_refused"]
    assert "line 2" in document["reasons"][1]["message"]
    file.write_text("item_id,published_at\na,2024-01-01T00:00:00Z\nb,\n")
    assert run("put", str(file)).exit_code == 0
    assert "2 of 2 items" in run("list").stdout
    file.write_text("item_id\n")
    assert run("put", str(file)).exit_code == 3


@pytest.mark.parametrize("arguments", [(), ("--id", ""), ("--id", "x\ny"), ("FILE.csv", "--id", "x")])
def test_wrong_usage_is_refused(run, arguments):
    assert run("put", *arguments).exit_code == 2


def test_imported_items_are_the_base_that_the_log_stands_on(run, tmp_path):
    interactions = pd.DataFrame(
        {"user_id": ["u"], "item_id": ["old"], "timestamp": pd.to_datetime(["2024-01-01"], utc=True)}
    )
    catalogue = catalogue_of([Item("old", "Imported"), Item("older", "Imported too")])
    dataset = Dataset(tmp_path, catalogue, interactions, users_frame(interactions[["user_id"]], interactions))
    offline = Workspace(tmp_path / "workspace").features / OFFLINE_FOLDER
    offline.mkdir(parents=True)
    for name, table in build_feature_tables(dataset).named().items():
        pq.write_table(table, offline / f"{name}.parquet")
    assert "2 of 2 items; the item log is at revision 0" in run("list").stdout
    assert "the import" in run("show", "old").stdout
    assert run("remove", "old").exit_code == 0
    assert run("put", "--id", "older", "--title", "Described anew").exit_code == 0
    listed = run("list").stdout
    assert "1 of 1 items" in listed
    assert "Described anew" in listed
