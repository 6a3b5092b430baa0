from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.contracts.rungs import Rung
from services.recommendations.pipeline.fallback_ladder import FallbackLadder
from streamrec.contracts.errors import NotReadyError
from streamrec.contracts.items import Item
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.store import ItemCounts, ItemTable
from streamrec.items.memory_item_log import MemoryItemLog


def item_table(languages, counts) -> ItemTable:
    size = len(languages)
    catalogue = Catalogue(
        item_ids=tuple(f"i{row}" for row in range(size)),
        titles=("",) * size,
        creator_ids=("c",) * size,
        creator_languages=tuple(languages),
        topics=((),) * size,
        published_at=np.full(size, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    return ItemTable(catalogue, np.array(counts, dtype=np.int64), "revision-1")


#            i0    i1    i2    i3    i4    i5
LANGUAGES = ["en", "de", "en", "de", "en", "fr"]
COUNTS = [5, 9, 7, 9, 1, 100]


@pytest.fixture
def ladder() -> FallbackLadder:
    return FallbackLadder.from_counts(ItemCounts.of_table(item_table(LANGUAGES, COUNTS)))


def test_popular_items_of_the_users_language_come_first(ladder):
    answer = ladder.answer(language="en", seen=(), count=3)
    assert answer.item_ids == ("i2", "i0", "i4")
    assert answer.rung is Rung.POPULAR_IN_LANGUAGE
    assert answer.scores == (1.0, 1 / 2, 1 / 3)


def test_equal_counts_keep_the_catalogues_order(ladder):
    assert ladder.answer(language="de", seen=(), count=2).item_ids == ("i1", "i3")


def test_a_short_language_is_topped_up_without_repeating(ladder):
    answer = ladder.answer(language="de", seen=(), count=5)
    assert answer.item_ids == ("i1", "i3", "i5", "i2", "i0")
    assert answer.rung is Rung.POPULAR_IN_LANGUAGE


@pytest.mark.parametrize("language", ["xx", "unknown", None, ""])
def test_an_unknown_language_goes_to_the_static_list(ladder, language):
    answer = ladder.answer(language=language, seen=(), count=3)
    assert answer.item_ids == ("i5", "i1", "i3")
    assert answer.rung is Rung.STATIC


def test_seen_items_are_never_shown(ladder):
    answer = ladder.answer(language="en", seen={"i2", "i5", "i0", "i4"}, count=6)
    assert answer.item_ids == ("i1", "i3")
    assert answer.rung is Rung.STATIC


def test_who_has_seen_everything_gets_nothing(ladder):
    assert ladder.answer(language="en", seen={f"i{row}" for row in range(6)}, count=3).item_ids == ()


def test_a_long_history_cannot_run_the_lists_dry():
    size = 6000
    ladder = FallbackLadder.from_counts(ItemCounts.of_table(item_table(["en"] * size, range(size))))
    seen = {f"i{row}" for row in range(size - 4096, size)}
    answer = ladder.answer(language="en", seen=seen, count=500)
    assert len(set(answer.item_ids) - seen) == 500


def test_an_empty_catalogue_is_not_ready():
    with pytest.raises(NotReadyError, match="catalogue is empty"):
        FallbackLadder.from_counts(ItemCounts.of_table(item_table([], [])))


def test_the_lists_follow_the_item_log(ladder):
    log = MemoryItemLog()
    log.append(
        ["i2", "i5", Item("new", creator_language="de"), Item("i0", creator_language="fr"), "unheard-of"]
    )
    log.append([Item("i3", creator_language="de")])
    log.refresh()
    changed = ladder.with_items(log.current)
    assert changed.answer(language="en", seen=(), count=6).item_ids == ("i4", "i1", "i3", "i0", "new")
    assert changed.answer(language="de", seen=(), count=3).item_ids == ("i1", "i3", "new")
    assert changed.answer(language="fr", seen=(), count=1).item_ids == ("i0",)
    assert changed.answer(language=None, seen={"i1"}, count=9).item_ids == ("i3", "i0", "i4", "new")
    assert ladder.answer(language="en", seen=(), count=1).item_ids == ("i2",)
