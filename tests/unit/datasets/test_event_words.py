"""One vocabulary of events for every door: imports, HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.recommendations.gateway.schemas import EventIn
from streamrec.contracts.events import InteractionKind, interaction_kind
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers import import_neutral

TIME = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("DISLIKE", InteractionKind.DISLIKE),
        (" Dislike ", InteractionKind.DISLIKE),
        ("Thumbs-Down", InteractionKind.DISLIKE),
        ("Purchase", InteractionKind.COMPLETE),
        ("hover", None),
    ],
)
def test_a_word_names_its_kind_whatever_its_case(word: str, kind: InteractionKind | None):
    assert interaction_kind(word) is kind


def test_an_imported_dislike_is_no_interest_and_an_unknown_word_is_quarantined(tmp_path: Path):
    source = tmp_path / "in"
    source.mkdir()
    words = ["Dislike", "DISLIKE", "view", "hover", None]
    rows = {"user_id": list("uvwxy"), "item_id": ["a"] * 5, "timestamp": [TIME] * 5, "event": words}
    pq.write_table(pa.table(rows), source / "interactions.parquet")
    nothing = {name: [None] for name in ("title", "creator_id", "creator_language", "topics", "published_at")}
    pq.write_table(pa.table({"item_id": ["a"], **nothing}), source / "items.parquet")
    report = import_neutral(source, tmp_path / "out", SilentProgress())
    dataset = load_dataset(tmp_path / "out")
    assert dataset.negative_interactions["event"].tolist() == ["dislike", "dislike"]
    assert dataset.positive_interactions["event"].tolist() == ["click", None]
    assert report.quarantined == {"unknown_event": 1}


def test_http_takes_the_same_words():
    event = {"event_id": "e", "user_id": "u", "item_id": "a", "kind": "DISLIKE", "occurred_at": TIME}
    assert EventIn.model_validate(event).kind is InteractionKind.DISLIKE
