"""Every source and publisher of exposure prices keeps the same promises."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.recommendations.exposure_control.file_price_source import FilePricePublisher, FilePriceSource
from services.recommendations.exposure_control.price_document import (
    MAXIMUM_BYTES,
    PriceDocument,
    parse_price_document,
)
from services.recommendations.exposure_control.price_source import (
    MemoryPriceBoard,
    PricePublisher,
    PriceSource,
)
from streamrec.contracts.errors import InvalidInputError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def a_document(revision=1, **changed):
    document = PriceDocument(
        revision=revision,
        published_at=NOW,
        target_gini=0.3,
        strength=0.004,
        pattern={"de": -0.2, "en": 0.5, "sw": -0.3},
        prices={"de": 0.0028, "en": 0.0, "sw": 0.0032},
    )
    return replace(document, **changed)


class MemoryParts:
    def __init__(self):
        board = MemoryPriceBoard()
        self.publisher: PricePublisher = board
        self.source: PriceSource = board
        self._board = board

    def damage(self, content):
        self._board.content = content


class FileParts:
    def __init__(self, folder):
        self.path = folder / "prices" / "language-prices.json"
        self.publisher: PricePublisher = FilePricePublisher(self.path)
        self.source: PriceSource = FilePriceSource(self.path)

    def damage(self, content):
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(content)


@pytest.fixture(params=["memory", "file"])
def parts(request, tmp_path):
    return MemoryParts() if request.param == "memory" else FileParts(tmp_path)


def test_nothing_is_there_at_first(parts):
    assert parts.source.refresh() is False
    assert parts.source.current is None
    assert parts.publisher.published() is None
    assert parts.source.refused == 0


def test_what_is_published_arrives_whole(parts):
    document = a_document()
    parts.publisher.publish(document)
    assert parts.source.current is None
    assert parts.source.refresh() is True
    assert parts.source.current == document == parts.publisher.published()
    assert parts.source.refresh() is False


def test_a_newer_revision_replaces_an_older_one(parts):
    for revision in (1, 2, 9):
        parts.publisher.publish(a_document(revision))
        assert parts.source.refresh() is True
        assert parts.source.current.revision == revision


@pytest.mark.parametrize("revision", [1, 4, 5])
def test_an_older_or_equal_revision_is_not_published(parts, revision):
    parts.publisher.publish(a_document(5))
    with pytest.raises(InvalidInputError, match="revision"):
        parts.publisher.publish(a_document(revision))
    assert parts.publisher.published().revision == 5


def test_a_replica_never_goes_back(parts):
    parts.publisher.publish(a_document(5))
    parts.source.refresh()
    parts.damage(a_document(4).to_bytes())
    assert parts.source.refresh() is False
    assert parts.source.current.revision == 5
    assert parts.source.refused == 1


def changed(**fields):
    document = json.loads(a_document(7).to_bytes())
    return json.dumps({**document, **fields}).encode()


HOSTILE = {
    "empty": b"",
    "cut": a_document(7).to_bytes()[:-40],
    "not utf-8": b"\xff\xfe{}",
    "list": b"[]",
    "deep": b"[" * 60_000,
    "too large": a_document(7).to_bytes() + b" " * MAXIMUM_BYTES,
    "unknown field": changed(surprise=1),
    "other format": changed(format=2),
    "format true": changed(format=True),
    "revision 0": changed(revision=0),
    "revision true": changed(revision=True),
    "revision huge": changed(revision=2**60),
    "revision text": changed(revision="9"),
    "no time zone": changed(published_at="2026-11-21T12:00:00"),
    "no time": changed(published_at="yesterday"),
    "negative price": changed(prices={"en": -0.001}),
    "price of a whole slate": changed(prices={"en": 1.5}),
    "price text": changed(prices={"en": "0.1"}),
    "price true": changed(prices={"en": True}),
    "price list": changed(prices=[0.1]),
    "huge integer": changed(prices={"en": 10**400}),
    "not a number": changed().replace(b'"strength": 0.004', b'"strength": NaN'),
    "infinite": changed().replace(b'"strength": 0.004', b'"strength": 1e999'),
    "key twice": changed().replace(b'"strength": 0.004', b'"strength": 0.004, "strength": 0.5'),
    "too many languages": changed(prices={f"l{i}": 0.1 for i in range(501)}),
    "long language": changed(prices={"l" * 65: 0.1}),
    "target": changed(target_gini=1.1),
    "pattern": changed(pattern={"en": 2.0}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_damaged_or_hostile_document_leaves_the_old_prices(parts, content):
    good = a_document(1)
    parts.publisher.publish(good)
    parts.source.refresh()
    parts.damage(content)
    assert parts.source.refresh() is False
    assert parts.source.current == good
    assert parts.source.refused == 1
    parts.source.refresh()
    assert parts.source.refused == 1, "the same document is counted once"
    with pytest.raises(InvalidInputError):
        parse_price_document(content)
    parts.damage(a_document(8).to_bytes())
    assert parts.source.refresh() is True
    assert parts.source.current.revision == 8


def test_a_damaged_file_is_replaced_by_the_next_publication(tmp_path):
    parts = FileParts(tmp_path)
    parts.damage(b"garbage")
    parts.publisher.publish(a_document(3))
    assert parts.source.refresh()
    assert list(parts.path.parent.iterdir()) == [parts.path]


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    source = FilePriceSource(path)
    assert source.refresh() is False
    assert source.refused == 1


def test_the_same_document_has_the_same_bytes():
    assert a_document().to_bytes() == parse_price_document(a_document().to_bytes()).to_bytes()
    with pytest.raises(TypeError):
        a_document().prices["en"] = 9.0
