"""One golden document of every kind of event: the forms that are in logs must not change by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrec.contracts.events import Propensity, PropensityKind, ScoredItems
from streamrec.contracts.slots import ServingRole
from streamrec.events.records import (
    QuarantinedEvent,
    QuarantineReason,
    RecordKind,
    from_json,
    kind_of,
    to_json,
)
from tests.made_events import NOON, a_label, a_prediction, an_exposure, an_impression, an_outcome

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "events"

RECORDS = [
    a_prediction(
        1,
        role=ServingRole.SHADOW,
        traffic_revision=12,
        features={"length": 240, "language": "fi"},
        extension={"schema": "moderation.prediction.v1", "queue": "text"},
    ),
    an_impression(
        1,
        versions={"search.retrieval": "search-retrieval@2", "search.ranking": "search-ranking@3"},
        propensity=Propensity(PropensityKind.MONTE_CARLO, (0.75, 0.5), 99),
        seed="00000000000000ff",
        state_digest="ab" * 32,
        price_revision=7,
        client_request_id="mobile-17",
        traffic_revision=12,
        candidates=ScoredItems(("a", "b", "c"), (2.0, 1.5, -0.25)),
        extension={"schema": "search.impression.v1", "query_length": 3},
    ),
    an_exposure(1),
    an_outcome(1, kind="conversion", value=9.5, currency="EUR"),
    a_label(1),
    QuarantinedEvent("e9", QuarantineReason.UNKNOWN_ITEM, NOON, '{"event_id":"e9"}', unit="u9"),
]


@pytest.mark.parametrize("record", RECORDS, ids=kind_of)
def test_the_golden_document_is_what_is_written_and_read(record):
    text = (GOLDEN / f"{kind_of(record).value}.json").read_text()
    assert json.loads(to_json(record)) == json.loads(text)
    assert from_json(text) == record


@pytest.mark.parametrize(
    ("kind", "later"),
    [("impression", "client_request_id"), ("prediction", "client_request_id"), ("quarantined", "unit")],
)
def test_a_document_from_before_a_field_was_there_is_read(kind, later):
    document = json.loads((GOLDEN / f"{kind}.json").read_text())
    del document[later]
    assert getattr(from_json(json.dumps(document)), later) is None


def test_every_kind_has_a_golden_document():
    assert {kind_of(record) for record in RECORDS} == set(RecordKind)
    assert {path.stem for path in GOLDEN.iterdir()} == {kind.value for kind in RecordKind}
