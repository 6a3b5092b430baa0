from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.feedback import with_outcomes
from streamrec.datasets.writer import write_dataset

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_what_was_added_in_memory_is_read_again_from_the_folder(tmp_path):
    folder = tmp_path / "imported"
    folder.mkdir()
    pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["A", None],
            "creator_id": "c",
            "creator_language": ["en", None],
            "topics": [["x", "y"], []],
            "published_at": [pd.Timestamp(NOON), pd.NaT],
        }
    ).to_parquet(folder / "items.parquet")
    pd.DataFrame({"user_id": ["u"], "country": ["FI"]}).to_parquet(folder / "users.parquet")
    pd.DataFrame(
        {"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": [NOON, NOON], "rating": [4.0, None]}
    ).to_parquet(folder / "interactions.parquet")
    later = NOON + timedelta(microseconds=7)
    added = Outcome("e", "new", "a", InteractionKind.SKIP, later, later)
    dataset = with_outcomes(load_dataset(folder), [added])

    write_dataset(dataset, tmp_path / "whole")
    again = load_dataset(tmp_path / "whole")

    # Which of the two missing values a text lacks is nobody's business.
    events = dataset.interactions["event"].astype(object)
    wanted = dataset.interactions.assign(event=events.where(events.notna(), None))
    pd.testing.assert_frame_equal(again.interactions, wanted)
    pd.testing.assert_frame_equal(again.users, dataset.users)
    assert again.catalogue.item_ids == dataset.catalogue.item_ids
    assert again.catalogue.titles == dataset.catalogue.titles
    assert again.catalogue.creator_languages == dataset.catalogue.creator_languages
    assert again.catalogue.topics == dataset.catalogue.topics
    assert again.catalogue.published_at.tolist() == dataset.catalogue.published_at.tolist()
