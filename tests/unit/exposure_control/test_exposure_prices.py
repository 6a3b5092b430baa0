"""Exposure prices as a signed document: what arrives at a replica, and what is refused."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest

from services.recommendations.exposure_control.exposure_prices import (
    EXPOSURE_PRICES,
    ExposurePrices,
    parse_exposure_prices,
)
from services.recommendations.exposure_control.price_files import PriceFiles, open_price_publisher
from streamrec.contracts.errors import ConflictError, DocumentRefusedError, InvalidInputError
from streamrec.documents.key_folder import KeyFolder
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import sign

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PRICES = ExposurePrices(
    published_at=NOW,
    target_gini=0.3,
    strength=0.004,
    pattern={"de": -0.2, "en": 0.5, "sw": -0.3},
    prices={"de": 0.0028, "en": 0.0, "sw": 0.0032},
)


class Parts:
    """A controller's publisher and a replica's follower over one workspace."""

    def __init__(self, folder):
        self.path = folder / "exposure" / "exposure_prices.json"
        self.keys = KeyFolder(folder / "keys")
        self.files = PriceFiles(
            self.path, folder / "exposure" / "exposure_prices.last_good.json", self.keys.public_folder
        )
        self.publisher = open_price_publisher(self.path, folder / "keys")
        self.follower = self.files.open_follower()

    def put(self, revision=2**52, **changed):
        """Put a document there that is signed by the right key, and is anything but right otherwise."""
        document = {"schema": EXPOSURE_PRICES.schema, "revision": revision, **PRICES.to_body(), **changed}
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(sign(document, self.keys.signing_key()))


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path)


def test_nothing_is_there_at_first(parts):
    assert parts.follower.refresh() is False
    assert parts.follower.current is None
    assert parts.publisher.published() is None
    assert parts.follower.refusals == {}


def test_what_is_published_arrives_whole(parts):
    document = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    assert parts.follower.current is None
    assert parts.follower.refresh() is True
    assert parts.follower.current == document == parts.publisher.published()
    assert parts.follower.current.value == PRICES
    assert parts.follower.refresh() is False
    stored = json.loads(parts.path.read_bytes())
    assert stored["schema"] == "streamrec.exposure_prices.v1"
    assert stored["signature"]["key_id"] == parts.keys.signing_key_id()


def test_of_two_controllers_the_one_that_decided_on_an_older_revision_is_refused(parts):
    first = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    second = parts.publisher.publish(PRICES.to_body(), expected_revision=first.revision)
    with pytest.raises(ConflictError):
        parts.publisher.publish(PRICES.to_body(), expected_revision=first.revision)
    assert parts.publisher.published() == second


def test_a_replica_never_goes_back_and_remembers_that_over_a_restart(parts):
    first = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    second = parts.publisher.publish(PRICES.to_body(), expected_revision=first.revision)
    parts.follower.refresh()
    parts.path.write_bytes(first.content)
    for follower in (parts.follower, parts.files.open_follower()):
        assert follower.refresh() is False
        assert follower.current == second
        assert follower.refusals == {Refusal.OLDER_REVISION: 1}


def test_a_replica_that_starts_while_the_document_is_damaged_serves_the_last_good_prices(parts):
    document = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    parts.follower.refresh()
    parts.path.write_bytes(b"damaged")
    again = parts.files.open_follower()
    assert again.current == document
    again.refresh()
    assert again.current == document


INVALID = {
    "unknown field": {"surprise": 1},
    "no time zone": {"published_at": "2026-11-21T12:00:00"},
    "no time": {"published_at": "yesterday"},
    "time as a number": {"published_at": 1_800_000_000},
    "negative price": {"prices": {"en": -0.001}},
    "price of a whole slate": {"prices": {"en": 1.5}},
    "price text": {"prices": {"en": "0.1"}},
    "price true": {"prices": {"en": True}},
    "price list": {"prices": [0.1]},
    "huge integer": {"prices": {"en": 2**53 - 1}},
    "strength text": {"strength": "0.1"},
    "too many languages": {"prices": {f"l{i}": 0.1 for i in range(501)}},
    "long language": {"prices": {"l" * 65: 0.1}},
    "language without a name": {"prices": {"": 0.1}},
    "language over two lines": {"prices": {"a\nb": 2.0}},
    "target": {"target_gini": 1.1},
    "pattern": {"pattern": {"en": 2.0}},
    "pattern null": {"pattern": None},
}


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID.keys())
def test_prices_out_of_range_are_refused_although_they_are_signed(parts, fields):
    good = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    parts.follower.refresh()
    parts.put(**fields)
    assert parts.follower.refresh() is False
    assert parts.follower.current == good
    parts.follower.refresh()
    assert parts.follower.refusals == {Refusal.INVALID_CONTENT: 1}, "the same document is counted once"
    with pytest.raises(DocumentRefusedError) as caught:
        parts.publisher.published()
    assert "\n" not in str(caught.value)
    parts.put(revision=2**52 + 1)
    assert parts.follower.refresh() is True
    assert parts.follower.current.revision == 2**52 + 1


def test_a_missing_field_is_refused():
    for name in PRICES.to_body():
        body = PRICES.to_body()
        del body[name]
        with pytest.raises(InvalidInputError, match="exactly the fields"):
            parse_exposure_prices({"schema": EXPOSURE_PRICES.schema, "revision": 1, **body})


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Refusal.MALFORMED),
        (b"[" * 60_000, Refusal.MALFORMED),
        (b" " * 10_000_000, Refusal.TOO_LARGE),
        (b'{"strength":NaN}', Refusal.MALFORMED),
    ],
)
def test_what_is_no_document_is_refused(parts, content, code):
    good = parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    parts.follower.refresh()
    parts.path.write_bytes(content)
    assert parts.follower.refresh() is False
    assert parts.follower.current == good
    assert parts.follower.refusals == {code: 1}


UNSIGNED_BY_AN_EARLIER_RELEASE = b"""{
  "format": 1,
  "pattern": {"de": -0.2, "en": 0.2},
  "prices": {"de": 0.0028, "en": 0.0},
  "published_at": "2026-11-21T12:00:00+00:00",
  "revision": 7,
  "strength": 0.004,
  "target_gini": 0.3
}
"""


def test_unsigned_prices_of_an_earlier_release_are_refused_and_say_to_publish_again(parts, caplog):
    parts.path.parent.mkdir()
    parts.path.write_bytes(UNSIGNED_BY_AN_EARLIER_RELEASE)
    assert parts.follower.refresh() is False
    assert parts.follower.refusals == {Refusal.UNSIGNED: 1}
    assert "not signed; publish it again" in caplog.text
    parts.publisher.publish(PRICES.to_body(), expected_revision=0)
    assert parts.follower.refresh() is True


def test_what_is_no_regular_file_is_refused_without_waiting(parts):
    parts.path.parent.mkdir()
    os.mkfifo(parts.path)
    assert parts.follower.refresh() is False
    assert parts.follower.refusals == {Refusal.UNREADABLE: 1}


def test_prices_cannot_be_changed():
    with pytest.raises(TypeError):
        PRICES.prices["en"] = 9.0
