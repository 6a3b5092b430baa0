from __future__ import annotations

import threading
from datetime import UTC, datetime

import numpy as np

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.exposure_control.price_document import PriceDocument
from services.recommendations.exposure_control.price_source import MemoryPriceBoard
from services.recommendations.reranking.live_prices import LivePrices
from services.recommendations.reranking.model import DiversityReranker

ITEMS = tuple(f"i{row}" for row in range(60))
LANGUAGE_OF = {item: ("en", "de", "sw")[row % 3] for row, item in enumerate(ITEMS)}
USER = UserState("u", history=ITEMS[:3])
CANDIDATES = Candidates.from_scores(ITEMS, -np.arange(60.0) / 20.0)


def a_document(revision, prices):
    return PriceDocument(revision, datetime(2026, 11, 21, tzinfo=UTC), 0.3, 0.01, {}, prices)


def languages_shown(model):
    answer = model.rerank(CANDIDATES, USER, 0.0)
    return [LANGUAGE_OF[item] for item in answer.item_ids[:10]]


def test_the_model_serves_under_the_newest_good_prices():
    board = MemoryPriceBoard()
    live = LivePrices(board)
    model = DiversityReranker(language_of=LANGUAGE_OF, language_prices={})
    assert live.applied(model) is model
    assert model.price_revision == 0
    before = languages_shown(model)

    board.publish(a_document(4, {"sw": 0.5}))
    board.refresh()
    priced = live.applied(model)
    assert priced.price_revision == 4
    assert languages_shown(priced).count("sw") == 10 > before.count("sw")
    assert live.applied(model) is priced, "made once for each revision"
    assert languages_shown(model) == before, "the model itself is left as it was"

    board.publish(a_document(5, {"de": 0.5}))
    board.refresh()
    newer = live.applied(model)
    assert newer.price_revision == 5
    assert languages_shown(newer).count("de") == 10
    priced = newer

    board.content = b"garbage"
    board.refresh()
    assert live.applied(model) is priced

    other = DiversityReranker(language_of=LANGUAGE_OF, language_prices={}, slate_length=5)
    assert live.applied(other).slate_length == 5
    assert live.applied(other).price_revision == 5


def test_what_was_published_before_the_start_is_served_at_once():
    board = MemoryPriceBoard()
    board.publish(a_document(2, {"de": 0.1}))
    live = LivePrices(board)
    assert live.applied(DiversityReranker(language_of=LANGUAGE_OF)).language_prices == {"de": 0.1}


def test_it_polls_until_it_is_stopped():
    polled = threading.Event()

    class Board(MemoryPriceBoard):
        def refresh(self):
            found = super().refresh()
            if found:
                polled.set()
            return found

    board = Board()
    live = LivePrices(board)
    live.start(interval_s=0.01)
    board.publish(a_document(1, {"de": 0.1}))
    assert polled.wait(timeout=10.0)
    live.stop()
