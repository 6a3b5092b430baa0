"""The catalogue that training and features are given."""

from __future__ import annotations

from datetime import timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.composition import with_items_of_log
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.items import Item
from streamrec.items.item_log import FileItemLog
from tests.unit.datasets.test_item_changes import dataset


def test_it_is_the_import_with_the_item_log_up_to_a_moment(tmp_path):
    place = Workspace(tmp_path)
    assert with_items_of_log(place, dataset()).fingerprint == dataset().fingerprint
    put = FileItemLog(place.items).append([Item("c")])[0]
    assert "c" in with_items_of_log(place, dataset()).catalogue.row_of
    before = with_items_of_log(place, dataset(), put.at - timedelta(seconds=1))
    assert "c" not in before.catalogue.row_of


@pytest.mark.parametrize("command", ["train retrieval", "evaluate", "hand-over", "index tune"])
def test_every_command_that_trains_reads_the_item_log(tmp_path, monkeypatch, command):
    class ReadError(Exception):
        pass

    def read(workspace, found, until=None):
        assert (workspace.root, found, until) == (tmp_path, "the data", None)
        raise ReadError

    monkeypatch.setattr("streamrec.command_line.composition.load_data_folder", lambda _folder: "the data")
    monkeypatch.setattr("streamrec.command_line.composition.with_items_of_log", read)
    arguments = ["recommendations", *command.split(), "--data", "x", "--workspace", str(tmp_path)]
    assert isinstance(CliRunner().invoke(app, arguments).exception, ReadError)
