"""Wherever tallies lie, the last one of each process is read, and none is left out in silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import DependencyError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.tallies import Answers, ServedTally, TallyRow
from streamrec.contracts.slots import ServingRole
from streamrec.rollout import tallies as module
from streamrec.rollout.tallies import DamagedTalliesError, FileTallies, MemoryTallies

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "files"])
def tallies(request, tmp_path):
    return MemoryTallies() if request.param == "memory" else FileTallies(tmp_path / "traffic" / "tallies")


def tally(server="gateway-1", asked=1, at=NOON):
    answers = Answers(asked=asked, latency={"3": asked})
    row = TallyRow("shop.ranking", ServingRole.CHALLENGER, ModelRef("ranking", 2), "r-1", 1_000, answers)
    return ServedTally(server, at, (row,))


def test_nothing_is_read_where_nothing_was_written(tallies):
    assert tallies.read() == []
    tallies.remove("gateway-1")


def test_the_last_tally_of_each_process_is_read_by_name(tallies):
    for one in (tally("b"), tally("a"), tally("b", 2, NOON + timedelta(seconds=1))):
        tallies.write(one)
    assert tallies.read() == [tally("a"), tally("b", 2, NOON + timedelta(seconds=1))]


def test_a_process_is_forgotten(tallies):
    tallies.write(tally("a"))
    tallies.write(tally("b"))
    tallies.remove("a")
    assert tallies.read() == [tally("b")]


def test_a_damaged_tally_is_said_and_the_others_are_kept(tmp_path):
    tallies = FileTallies(tmp_path)
    tallies.write(tally("a"))
    tallies.write(tally("b"))
    (tmp_path / "b.json").write_bytes((tmp_path / "b.json").read_bytes()[:-7])
    (tmp_path / "c.json").write_bytes((tmp_path / "a.json").read_bytes())  # another process's
    with pytest.raises(DamagedTalliesError, match=r"2 of 3 tallies .*first b\.json") as damaged:
        tallies.read()
    assert damaged.value.readable == (tally("a"),)
    tallies.write(tally("b"))
    tallies.remove("c")
    assert tallies.read() == [tally("a"), tally("b")]


def test_a_tally_that_is_too_large_is_damaged(tmp_path, monkeypatch):
    tallies = FileTallies(tmp_path)
    tallies.write(tally("a"))
    monkeypatch.setattr(module, "MAXIMUM_TALLY_BYTES", 100)
    with pytest.raises(DamagedTalliesError):
        tallies.read()


def test_more_files_than_services_can_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAXIMUM_SERVERS", 1)
    tallies = FileTallies(tmp_path)
    tallies.write(tally("a"))
    tallies.write(tally("b"))
    with pytest.raises(DependencyError, match="2 tallies"):
        tallies.read()


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    tallies = FileTallies(tmp_path / "file" / "tallies")
    with pytest.raises(DependencyError, match="tallies cannot be written"):
        tallies.write(tally())


def test_what_a_killed_writer_left_does_no_harm(tmp_path):
    tallies = FileTallies(tmp_path)
    tallies.write(tally("a"))
    (tmp_path / "a.temporary").write_bytes(b"{")
    assert tallies.read() == [tally("a")]
    tallies.write(tally("a", 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
