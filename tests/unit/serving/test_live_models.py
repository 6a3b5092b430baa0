"""Models that follow the item log."""

from __future__ import annotations

import gc

import pytest

from streamrec.contracts.items import Item
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.serving.live_models import FollowedItems


@pytest.fixture
def log():
    return MemoryItemLog()


def test_every_live_model_follows_and_is_warm_before_it_answers(log):
    followed, warmed = FollowedItems(log), []
    first = followed.live(lambda state: ("first", *state.items), warmed.append)
    log.append([Item("a")])
    second = followed.live(lambda state: ("second", *state.items), warmed.append)
    assert first.current.model == ("first",)
    followed.refresh()
    assert (first.current.model, first.current.state.revision) == (("first", "a"), 1)
    assert second.current.model == ("second", "a")
    before = first.current
    followed.refresh()
    assert first.current is before
    assert warmed.count(("first", "a")) == 1
    # A model that is loaded later knows what the others know at once.
    assert followed.live(lambda state: tuple(state.items), warmed.append).current.model == ("a",)


def test_a_model_that_cannot_follow_answers_as_before_and_holds_nobody_up(log, caplog):
    followed = FollowedItems(log)

    def make(state):
        if state.revision == 1:
            raise ValueError("cannot")
        return state.revision

    weak = followed.live(make, lambda _model: None)
    strong = followed.live(lambda state: state.revision, lambda _model: None)
    log.append([Item("a")])
    for _ in range(3):
        followed.refresh()
    assert (weak.current.model, strong.current.model) == (0, 1)
    assert caplog.text.count("could not follow the item log to 1") == 1
    log.append([Item("b")])
    followed.refresh()
    assert weak.current.model == 2


def test_a_model_that_nobody_holds_is_followed_no_more(log):
    followed, made = FollowedItems(log), []
    model = followed.live(lambda state: made.append(state.revision), lambda _model: None)
    del model
    gc.collect()
    log.append([Item("a")])
    followed.refresh()
    assert made == [0]


def test_a_model_that_cannot_be_made_is_refused_when_it_is_loaded(log):
    def broken(_state):
        raise ValueError("cannot")

    with pytest.raises(ValueError, match="cannot"):
        FollowedItems(log).live(broken, lambda _model: None)
