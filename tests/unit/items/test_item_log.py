"""The item log on disk: what is acknowledged counts, what is torn does not, and damage is refused."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.items import Item
from streamrec.items import files, item_log
from streamrec.items.follower import ItemFollower, read_history, read_state, read_state_at
from streamrec.items.item_log import FileItemLog

MORNING = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


def item(number: int, **fields) -> Item:
    return Item(f"item-{number}", **{"title": f"Title {number}", **fields})


def test_times_never_go_back(tmp_path):
    times = iter([MORNING, MORNING - timedelta(hours=1), MORNING + timedelta(hours=1)])
    log = FileItemLog(tmp_path, now=lambda: next(times))
    entries = [log.append([item(number)])[0] for number in range(3)]
    assert [entry.at for entry in entries] == [MORNING, MORNING, MORNING + timedelta(hours=1)]


def test_two_writers_take_turns(tmp_path):
    first, second = FileItemLog(tmp_path), FileItemLog(tmp_path)
    for number in range(0, 6, 2):
        first.append([item(number)])
        second.append([item(number + 1)])
    assert [entry.item_id for entry in read_history(tmp_path)] == [f"item-{number}" for number in range(6)]


class KilledError(BaseException):
    """Stands for the death of the process at this point."""


@pytest.mark.parametrize("step", ["write_at", "write_head", "remove"])
@pytest.mark.parametrize("when", ["before", "after", "half"])
def test_a_writer_that_dies_at_any_step_leaves_the_log_before_or_after(tmp_path, monkeypatch, step, when):
    """Also within the step: half of the bytes are there."""
    done = FileItemLog(tmp_path, snapshot_after=3)
    for number in range(6):
        done.append([item(number)])
    # The second snapshot is due with the next append; every step is passed on the way.
    for call in range(1, 5):
        acknowledged = read_state(tmp_path)
        calls = 0
        whole = getattr(item_log, step)

        def dies(*arguments, whole=whole, call=call):
            nonlocal calls
            calls += 1
            if calls < call:
                return whole(*arguments)
            if when == "half" and step == "write_at":
                whole(*arguments[:2], arguments[2][: len(arguments[2]) // 2])
            elif when != "before":
                whole(*arguments)
            raise KilledError

        monkeypatch.setattr(item_log, step, dies)
        follower = ItemFollower(tmp_path)
        with contextlib.suppress(KilledError):
            FileItemLog(tmp_path, snapshot_after=3).append([item(100 + call), "item-0"])
        monkeypatch.setattr(item_log, step, whole)
        follower.refresh()
        left = read_state(tmp_path)
        assert follower.current == left
        assert left.revision in (acknowledged.revision, acknowledged.revision + 2)
        if left.revision == acknowledged.revision:
            assert left.changes == acknowledged.changes
        entry = FileItemLog(tmp_path, snapshot_after=3).append([item(200 + call)])[0]
        assert entry.revision == left.revision + 1
        assert read_state(tmp_path).items[f"item-{200 + call}"] == item(200 + call)
        assert [found.revision for found in read_history(tmp_path)] == list(range(1, entry.revision + 1))


def test_a_start_reads_the_snapshot_and_not_every_entry(tmp_path, monkeypatch):
    log = FileItemLog(tmp_path, snapshot_after=10)
    follower = ItemFollower(tmp_path)
    for number in range(100):
        log.append([item(number % 5, title=f"edition {number}")])
        follower.refresh()
    read = []
    whole = files._entry
    monkeypatch.setattr(files, "_entry", lambda *arguments: read.append(1) or whole(*arguments))
    assert read_state(tmp_path) == follower.current
    assert len(read) <= 15
    assert len(list(tmp_path.glob("snapshot-*"))) == 1
    assert len(read_history(tmp_path)) == 100


def test_a_follower_reads_only_what_is_new(tmp_path, monkeypatch):
    log = FileItemLog(tmp_path)
    log.append([item(number) for number in range(50)])
    follower = ItemFollower(tmp_path)
    read = []
    whole = files._entry
    monkeypatch.setattr(files, "_entry", lambda *arguments: read.append(1) or whole(*arguments))
    log.append([item(51)])
    read.clear()
    follower.refresh()
    assert len(read) == 1


def test_damage_is_reported_and_what_was_read_stays(tmp_path):
    log = FileItemLog(tmp_path)
    log.append([item(1)])
    follower = ItemFollower(tmp_path)
    log.append([item(2)])
    path = tmp_path / files.changes_name(1)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert not follower.refresh()
    assert "is damaged at byte" in follower.problem
    assert set(follower.current.items) == {"item-1"}
    with pytest.raises(ArtifactError, match="damaged"):
        log.append([item(3)])
    content[-20] ^= 1
    path.write_bytes(content)
    assert follower.refresh()
    assert follower.problem == ""


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema":"streamrec.item_log_head.v2"}', b"\xff"])
def test_a_damaged_head_is_refused(tmp_path, content):
    FileItemLog(tmp_path).append([item(1)])
    (tmp_path / files.HEAD_FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"head\.json is damaged"):
        FileItemLog(tmp_path).append([item(2)])


def test_a_log_that_lies_in_the_place_of_another_is_read_from_its_beginning(tmp_path):
    FileItemLog(tmp_path / "a").append([item(1), item(2)])
    follower = ItemFollower(tmp_path / "a")
    before = follower.current
    FileItemLog(tmp_path / "b").append([item(3), item(4), item(5)])
    (tmp_path / "a").rename(tmp_path / "old")
    assert not follower.refresh()
    assert follower.current is before
    (tmp_path / "b").rename(tmp_path / "a")
    assert follower.refresh()
    assert set(follower.current.items) == {"item-3", "item-4", "item-5"}


def test_the_log_of_an_earlier_time_can_be_read_again(tmp_path):
    times = [MORNING + timedelta(hours=hour) for hour in range(8)]
    clock = iter(times)
    log = FileItemLog(tmp_path, snapshot_after=2, now=lambda: next(clock))
    states = []
    for number in range(7):
        log.append([item(number % 3, title=f"edition {number}"), f"item-{(number + 1) % 3}"])
        states.append(read_state(tmp_path))
    for number, state in enumerate(states):
        assert read_state_at(tmp_path, times[number]) == state
        assert read_state_at(tmp_path, times[number] - timedelta(seconds=1)).revision == 2 * number
    assert read_state_at(tmp_path / "none", MORNING).revision == 0
