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
        user_columns: Names of the columns of its users, whose file has no header.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form: TableForm = field(default_factory=TableForm)
    topic_separator: str = "|"
    user_columns: tuple[str, ...] = ()


PRESETS: Final[Mapping[str, TablePreset]] = {
    # Typed headers, "user_id:token"; lists are separated by blanks.
    "recbole": TablePreset(
        {
            "item_id": ("artist_id", "movie_id", "business_id", "parent_asin"),
            "title": ("movie_title", "name", "item_name"),
            "creator_id": ("brand", "store"),
            "topics": ("class", "genre", "genres", "categories"),
            "published_at": ("release_year",),
        },
        topic_separator=" ",
    ),
    # The forms of 2014 and 2018 (reviewerID), and that of 2023 (user_id, whose asin is a variant's).
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
    # Of both sets of Last.fm the plays have no header; the profiles of 1,000 users have one.
    "lastfm": TablePreset(
        {"item_id": ("track_id",), "users.user_id": ("#id",), "signed_up_at": ("registered",)},
        TableForm(
            delimiter="\t",
            columns=("user_id", "timestamp", "artist_id", "artist_name", "track_id", "track_name"),
        ),
    ),
    # A count of plays for each user and artist, without a time: pass --time.
    "lastfm-360k": TablePreset(
        {"item_id": ("artist_id",)},
        TableForm(delimiter="\t", columns=("user_id", "artist_id", "artist_name", "plays")),
        user_columns=("user_id", "gender", "age", "country", "signed_up_at"),
    ),
}
"""RecBole's atomic files, Amazon reviews, MovieLens as Kaggle has it, Last.fm's plays of 1,000 users and
play counts of 360,000.
"""
