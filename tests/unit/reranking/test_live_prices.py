from __future__ import annotations

import threading
from datetime import UTC, datetime

import numpy as np

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.exposure_control.exposure_prices import EXPOSURE_PRICES, ExposurePrices
from services.recommendations.reranking.live_prices import LivePrices
from services.recommendations.reranking.model import DiversityReranker
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.signed_form import sign

ITEMS = tuple(f"i{row}" for row in range(60))
LANGUAGE_OF = {item: ("en", "de", "sw")[row % 3] for row, item in enumerate(ITEMS)}
USER = UserState("u", history=ITEMS[:3])
CANDIDATES = Candidates.from_scores(ITEMS, -np.arange(60.0) / 20.0)


class Board:
    """Where prices are published, with a replica's follower."""

    def __init__(self):
        self._store, self._keys = MemoryDocumentStore(), MemoryKeyRing()
        self.follower = DocumentFollower(self._store, EXPOSURE_PRICES, self._keys)

    def publish(self, revision, prices):
        content = ExposurePrices(datetime(2026, 11, 21, tzinfo=UTC), 0.3, 0.01, {}, prices).to_body()
        document = {"schema": EXPOSURE_PRICES.schema, "revision": revision, **content}
        self._store.overwrite(sign(document, self._keys.signing_key()))

    def damage(self):
        self._store.overwrite(b"garbage")

    def revoke(self):
        old = self._keys.signing_key()
        self._keys.rotate()
        self._keys.revoke(old.key_id)


def languages_shown(model):
    answer = model.rerank(CANDIDATES, USER, 0.0)
    return [LANGUAGE_OF[item] for item in answer.item_ids[:10]]


def test_the_model_serves_under_the_newest_good_prices():
    board = Board()
    live = LivePrices(board.follower)
    model = DiversityReranker(language_of=LANGUAGE_OF, exposure_prices={})
    assert live.applied(model) is model
    assert model.price_revision == 0
    before = languages_shown(model)

    board.publish(4, {"sw": 0.5})
    board.follower.refresh()
    priced = live.applied(model)
    assert priced.price_revision == 4
    assert languages_shown(priced).count("sw") == 10 > before.count("sw")
    assert live.applied(model) is priced, "made once for each revision"
    assert languages_shown(model) == before, "the model itself is left as it was"

    board.publish(5, {"de": 0.5})
    board.follower.refresh()
    newer = live.applied(model)
    assert newer.price_revision == 5
    assert languages_shown(newer).count("de") == 10
    priced = newer

    board.damage()
    board.follower.refresh()
    assert live.applied(model) is priced

    other = DiversityReranker(language_of=LANGUAGE_OF, exposure_prices={}, slate_length=5)
    assert live.applied(other).slate_length == 5
    assert live.applied(other).price_revision == 5


def test_what_was_published_before_the_start_is_served_at_once():
    board = Board()
    board.publish(2, {"de": 0.1})
    live = LivePrices(board.follower)
    assert live.applied(DiversityReranker(language_of=LANGUAGE_OF)).exposure_prices == {"de": 0.1}


def test_prices_whose_key_was_revoked_give_way_to_the_models_own():
    board = Board()
    board.publish(2, {"de": 0.1})
    live = LivePrices(board.follower)
    model = DiversityReranker(language_of=LANGUAGE_OF)
    assert live.applied(model).price_revision == 2
    board.revoke()
    board.follower.refresh()
    assert live.applied(model) is model
    board.publish(2, {"sw": 0.2})
    board.follower.refresh()
    assert live.applied(model).exposure_prices == {"sw": 0.2}


def test_it_polls_until_it_is_stopped(monkeypatch):
    polled = threading.Event()
    board = Board()
    refresh = board.follower.refresh

    def noting_refresh():
        found = refresh()
        if found:
            polled.set()
        return found

    monkeypatch.setattr(board.follower, "refresh", noting_refresh)
    live = LivePrices(board.follower, interval_s=0.01)
    live.start()
    board.publish(1, {"de": 0.1})
    assert polled.wait(timeout=10.0)
    live.stop()
