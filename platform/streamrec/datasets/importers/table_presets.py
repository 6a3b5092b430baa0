"""What the columns of well-known data sets are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamrec.datasets.importers.table_files import TableForm


@dataclass(frozen=True)
class TablePreset:
    """One kind of data set.

    Attributes:
        columns: Of a field to the names it has in the files of the kind, the first that is there counts.
        form: How its text files are written.
        topic_separator: Between topics in text.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form: TableForm = field(default_factory=TableForm)
    topic_separator: str = "|"


PRESETS: Final[Mapping[str, TablePreset]] = {
    "recbole": TablePreset(
        {"title": ("movie_title",), "topics": ("class", "genre", "genres", "categories")},
        topic_separator=" ",
    ),
    "amazon": TablePreset(
        {
            "user_id": ("reviewerID",),
            "item_id": ("parent_asin", "asin"),
            "timestamp": ("unixReviewTime",),
            "rating": ("overall",),
            "creator_id": ("store", "brand"),
            "topics": ("categories", "category"),
        }
    ),
    "kaggle-movielens": TablePreset(
        {"user_id": ("userId",), "item_id": ("movieId",), "topics": ("genres",)},
    ),
    # The set of 1,000 users: the plays have no header.
    "lastfm": TablePreset(
        {"item_id": ("track_id",), "users.user_id": ("#id",)},
        TableForm(
            delimiter="\t",
            columns=("user_id", "timestamp", "artist_id", "artist_name", "track_id", "track_name"),
        ),
    ),
}
"""RecBole's atomic files, Amazon reviews, MovieLens as Kaggle has it, Last.fm's plays of 1,000 users."""
