"""A model is trained on the imported data and on what users did since, up to a stated time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.composition import erasure_files
from streamrec.command_line.training_data import read_training_data
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.erasure.erased_persons import record_erasure
from streamrec.events.file_event_log import FileEventLog
from tests.made_events import an_outcome

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write_data(folder, users=("ann", "bob")):
    folder.mkdir(parents=True)
    times = pd.to_datetime(["2026-01-01"] * len(users), utc=True)
    pd.DataFrame({"user_id": users, "item_id": "a", "timestamp": times}).to_parquet(
        folder / "interactions.parquet"
    )
    items = {"item_id": ["a", "b"], "title": "", "creator_id": "c", "creator_language": "en"}
    items |= {"topics": [["t"], ["t"]], "published_at": pd.Timestamp("2025-01-01", tz="UTC")}
    pd.DataFrame(items).to_parquet(folder / "items.parquet")


def play(unit, item_id, minute):
    moment = NOON.replace(minute=minute)
    return an_outcome(
        unit=unit,
        item_id=item_id,
        kind="play",
        event_id=f"{unit}-{minute}",
        occurred_at=moment,
        received_at=moment,
    )


@pytest.fixture
def place(tmp_path):
    place = Workspace(tmp_path)
    write_data(place.data / "mine")
    log = FileEventLog(place.events)
    log.append([play("ann", "b", 1), play("eve", "a", 2)])
    log.close()
    return place


def read(place, data=None, imported=None, until=None):
    return read_training_data(place, data=data, imported=imported, until=until)


def rows(found):
    return sorted(
        zip(found.dataset.interactions["user_id"], found.dataset.interactions["item_id"], strict=True)
    )


def test_the_workspaces_truth_is_its_import_and_its_event_log(place):
    found = read(place)
    assert rows(found) == [("ann", "a"), ("ann", "b"), ("bob", "a"), ("eve", "a")]
    assert found.events_added == 2
    assert found.events_until is not None
    assert "and 2 of the event log" in found.summary()


def test_only_what_came_before_the_stated_time_counts(place):
    found = read(place, until="2026-03-01T12:02:00Z")
    assert rows(found) == [("ann", "a"), ("ann", "b"), ("bob", "a")]
    assert found.events_until == NOON.replace(minute=2)


def test_the_fingerprint_tells_the_events_and_not_the_moment_of_reading(place):
    assert read(place).dataset.fingerprint == read(place).dataset.fingerprint
    earlier = read(place, until="2026-03-01T12:02:00Z").dataset.fingerprint
    assert earlier != read(place).dataset.fingerprint
    assert earlier == read(place, until="2026-03-01T12:01:30Z").dataset.fingerprint


def test_a_named_folder_is_trained_on_alone(place):
    found = read(place, data=place.data / "mine")
    assert rows(found) == [("ann", "a"), ("bob", "a")]
    assert found.events_until is None
    assert "without the event log" in found.summary()


def test_nobody_who_was_erased_comes_back_with_the_events(place):
    record_erasure(erasure_files(place), "eve", sleep=lambda _: None)
    record_erasure(erasure_files(place), "bob", sleep=lambda _: None)
    assert rows(read(place)) == [("ann", "a"), ("ann", "b")]


def test_several_imports_are_not_guessed_between(place):
    write_data(place.data / "another", ("zoe",))
    with pytest.raises(DataFolderError, match=r"another, mine.*--imported"):
        read(place)
    assert ("zoe", "a") in rows(read(place, imported=place.data / "another"))


@pytest.mark.parametrize("options", [{"until": "2026-01-01"}, {"imported": "x"}])
def test_a_folder_alone_and_the_truth_do_not_go_together(place, options):
    with pytest.raises(InvalidInputError, match="leave out --imported and --until"):
        read(place, data=place.data / "mine", **options)


def test_without_an_import_the_error_says_how_to_get_one(tmp_path):
    with pytest.raises(DataFolderError, match="streamrec data import"):
        read(Workspace(tmp_path))


@pytest.mark.parametrize("command", ["train retrieval", "evaluate", "hand-over", "index tune"])
def test_every_command_that_trains_or_measures_reads_the_truth_of_the_workspace(
    tmp_path, monkeypatch, command
):
    class ReadError(Exception):
        pass

    asked = []

    def read(workspace, **options):
        asked.append((workspace.root, options))
        raise ReadError

    module = {"train retrieval": "train", "hand-over": "hand_over", "index tune": "index"}.get(
        command, command
    )
    monkeypatch.setattr(f"services.recommendations.commands.{module}.read_training_data", read)
    arguments = ["recommendations", *command.split(), "--workspace", str(tmp_path)]
    for options, expected in (
        ([], {"data": None, "imported": None, "until": None}),
        (
            ["--imported", "mine", "--until", "2026-01-02"],
            {"data": None, "imported": Path("mine"), "until": "2026-01-02"},
        ),
        (["--data", "alone"], {"data": Path("alone"), "imported": None, "until": None}),
    ):
        assert isinstance(CliRunner().invoke(app, [*arguments, *options]).exception, ReadError)
        assert asked.pop() == (tmp_path, expected)
