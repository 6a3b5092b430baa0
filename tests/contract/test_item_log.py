"""The item log and its feed: files and their twin in memory behave alike."""

from __future__ import annotations

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.items import Item
from streamrec.items import item_log
from streamrec.items.follower import ItemFollower
from streamrec.items.item_log import FileItemLog
from streamrec.items.memory_item_log import MemoryItemLog


def item(number: int, **fields) -> Item:
    return Item(f"item-{number}", **{"title": f"Title {number}", **fields})


@pytest.fixture(params=["files", "memory"])
def log_and_feed(request, tmp_path):
    if request.param == "memory":
        log = MemoryItemLog()
        return log, log
    return FileItemLog(tmp_path / "items"), ItemFollower(tmp_path / "items")


def test_a_follower_sees_what_was_put_and_removed_with_its_next_look(log_and_feed):
    log, feed = log_and_feed
    assert not feed.refresh()
    assert feed.current.revision == 0
    put = log.append([item(1), item(2, topics=("Drama",))])
    assert [entry.revision for entry in put] == [1, 2]
    assert feed.refresh()
    assert not feed.refresh()
    log.append(["item-1", item(3)])
    assert feed.refresh()
    assert feed.current.revision == 4
    assert set(feed.current.items) == {"item-2", "item-3"}
    assert feed.current.removed == {"item-1"}
    log.append([item(1, title="back")])
    feed.refresh()
    assert feed.current.items["item-1"].title == "back"
    assert feed.current.removed == frozenset()


def test_an_empty_append_writes_nothing_and_a_bad_one_is_refused_whole(log_and_feed):
    log, feed = log_and_feed
    assert log.append([]) == ()
    with pytest.raises(InvalidInputError, match="item_id"):
        log.append([item(1), "x" * 129])
    with pytest.raises(InvalidInputError, match="title"):
        log.append([item(1), item(2, title="two\nlines")])
    with pytest.raises(InvalidInputError, match="at most"):
        log.append(["x"] * (item_log.MAXIMUM_BATCH + 1))
    assert not feed.refresh()
