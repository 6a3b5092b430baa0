"""MovieLens, in the layouts that GroupLens publishes, to the neutral format.

CSV layout (latest, 20M, 25M, 32M):  ratings.csv userId,movieId,rating,timestamp
                                     items.csv   movieId,title,genres[,director][,languages], or else
                                     movies.csv  movieId,title,genres
"::" layout (1M, 10M), Latin-1:      ratings.dat UserID::MovieID::Rating::Timestamp
                                     movies.dat  MovieID::Title::Genres
                                     users.dat   UserID::Gender::Age::Occupation::Zip-code   (optional)

Every rating is an interaction, whatever its value: it says that the user chose the film. The director is
the creator, the first language the creator's, the year in the title the date of publication. A row that
equals an earlier one in user, film, rating and time is a duplicate; the first one stays.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import Progress
from streamrec.datasets.importers import checks
from streamrec.datasets.importers.checks import Objects
from streamrec.datasets.importers.delimited import (
    CSV,
    Chunk,
    DelimitedFormat,
    is_utf8,
    read_delimited,
    read_header,
)
from streamrec.datasets.importers.repeated_rows import DuplicateRows, repeated_ids, row_hashes, value_hashes
from streamrec.datasets.importers.report import ImportReport
from streamrec.datasets.importers.session import ImportSession, import_session, table_of_rows
from streamrec.datasets.quarantine import Reason, Triage
from streamrec.datasets.writer import INTERACTIONS_SCHEMA, ITEMS_SCHEMA, RATING, TIMESTAMP, USERS_SCHEMA

LOWEST_RATING: Final = 0.5
HIGHEST_RATING: Final = 5.0

_INTERACTIONS: Final = INTERACTIONS_SCHEMA.append(RATING)
_TITLE_YEAR: Final = re.compile(r"\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*$")  # noqa: RUF001
"""``(1995)``, or the first year of ``(1975-1979)`` and ``(2007-)``, at the end of a title."""

_NO_GENRES: Final = ("", "(no genres listed)")

_AGE_BANDS: Final = {
    "1": "under-18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
"""The codes of users.dat, by the README of MovieLens-1M."""

_RATINGS_COLUMNS: Final = ("userId", "movieId", "rating", "timestamp")


def import_movielens(
    source: Path,
    output: Path,
    progress: Progress,
    now: datetime | None = None,
    *,
    highest_rating: float = HIGHEST_RATING,
) -> ImportReport:
    """Write the MovieLens folder ``source`` as a data folder at ``output``, replacing an earlier one.

    Args:
        source: A folder in one of the layouts above.
        output: Where the data folder goes; written in one step, untouched on an error.
        progress: Shows the bytes of ratings read.
        now: The clock by which a rating lies in the future; default: the machine's.
        highest_rating: Ratings above it are mistakes; sets that rate up to 10 say so.

    Raises:
        DataFolderError: ``source`` cannot be used or ``output`` cannot be written; names file and column.
    """
    if not source.is_dir():
        raise DataFolderError(source, None, "is not a folder; pass a folder with ratings.csv or ratings.dat")
    ratings, items, users = _layout(source)
    with import_session(source, output) as session:
        item_ids = _import_items(session, items)
        if users is not None:
            _import_users(session, users)
        _import_ratings(session, ratings, item_ids, progress, now, highest_rating)
    return session.report()


class _Source(NamedTuple):
    """One file of the source and how it is written."""

    path: Path
    form: DelimitedFormat


def _layout(source: Path) -> tuple[_Source, _Source, _Source | None]:
    if not (source / "ratings.dat").exists() or (source / "ratings.csv").exists():
        ratings_name = _first(source, "ratings.csv", "rating.csv")
        items = _first(source, "items.csv", "movies.csv", "movie.csv", default="movies.csv")
        for name in (ratings_name, items):
            if not (source / name).is_file():
                raise DataFolderError(
                    source / name, None, "the file does not exist; is this a MovieLens folder?"
                )
        return _Source(source / ratings_name, CSV), _Source(source / items, CSV), None
    ratings = _double_colon(source / "ratings.dat", *_RATINGS_COLUMNS)
    movies = _double_colon(source / "movies.dat", "movieId", "title", "genres")
    users = source / "users.dat"
    if not users.exists():
        return ratings, movies, None
    return ratings, movies, _double_colon(users, "userId", "gender", "age", "occupation", "zip")


def _first(source: Path, *names: str, default: str | None = None) -> str:
    """The first of the names that is there: Kaggle's copies of MovieLens are named in the singular."""
    found = (name for name in names if (source / name).exists())
    return next(found, default if default is not None else names[0])


def _double_colon(path: Path, *columns: str) -> _Source:
    # MovieLens-10M is UTF-8 and MovieLens-1M is Latin-1, a decoder that takes anything: it is tried last.
    encoding = "utf-8" if is_utf8(path) else "latin-1"
    return _Source(path, DelimitedFormat(delimiter="::", quoted=False, encoding=encoding, columns=columns))


def _import_items(session: ImportSession, items: _Source) -> frozenset[str]:
    header = read_header(items.path, items.form)
    optional = tuple(name for name in ("director", "languages") if name in header)
    rows: list[tuple[str, str, str, str, list[str], datetime | None]] = []
    seen: set[str] = set()
    for chunk in read_delimited(items.path, ("movieId", "title", "genres", *optional), items.form):
        blank = checks.as_objects([""] * len(chunk.lines))
        item_ids, titles, genres = (chunk.columns[name] for name in ("movieId", "title", "genres"))
        item_ids = checks.whole_numbers(item_ids)
        directors, languages = (chunk.columns.get(name, blank) for name in ("director", "languages"))
        triage = Triage(len(chunk.lines))
        checks.check_integer_ids(triage, item_ids, "movieId")
        shown_titles = checks.repaired_titles(triage, titles, "title")
        directors = checks.repaired_names(triage, directors, "director")
        first_languages = checks.as_objects([text.split(",")[0] for text in languages])
        first_languages = checks.repaired_names(triage, first_languages, "languages")
        topics = checks.repaired_topics(triage, [_topics(text) for text in genres], "genres")
        published = _published(triage, titles)
        triage.reject(repeated_ids(item_ids, triage.accepted, seen), Reason.DUPLICATE_ID, "movieId")
        _close_chunk(session, items, chunk, triage)
        rows.extend(
            (
                item_ids[row],
                (shown_titles[row] or "").strip(),
                (directors[row] or "").strip() or UNKNOWN,
                checks.language_or_unknown(first_languages[row]),
                topics[row],
                published[row],
            )
            for row in np.flatnonzero(triage.accepted)
        )
    session.write_items(items.path, table_of_rows(rows, ITEMS_SCHEMA))
    return frozenset(seen)


def _import_users(session: ImportSession, users: _Source) -> None:
    rows: list[tuple[str, str, str, str, str, None]] = []
    seen: set[str] = set()
    for chunk in read_delimited(users.path, ("userId", "age"), users.form):
        user_ids, ages = checks.whole_numbers(chunk.columns["userId"]), chunk.columns["age"]
        triage = Triage(len(chunk.lines))
        checks.check_integer_ids(triage, user_ids, "userId")
        triage.reject(repeated_ids(user_ids, triage.accepted, seen), Reason.DUPLICATE_ID, "userId")
        _close_chunk(session, users, chunk, triage)
        rows.extend(
            (user_ids[row], UNKNOWN, UNKNOWN, _AGE_BANDS.get(ages[row].strip(), UNKNOWN), UNKNOWN, None)
            for row in np.flatnonzero(triage.accepted)
        )
    session.write_users(table_of_rows(rows, USERS_SCHEMA))


def _import_ratings(
    session: ImportSession,
    ratings: _Source,
    item_ids: frozenset[str],
    progress: Progress,
    now: datetime | None,
    highest_rating: float,
) -> None:
    latest_seconds = checks.latest_timestamp(now).timestamp()
    duplicates = DuplicateRows()
    highest_seen = 0.0
    progress.start("import ratings", ratings.path.stat().st_size)
    for chunk in read_delimited(ratings.path, _RATINGS_COLUMNS, ratings.form):
        users, items = (checks.whole_numbers(chunk.columns[name]) for name in ("userId", "movieId"))
        triage = Triage(len(chunk.lines))
        checks.check_integer_ids(triage, users, "userId")
        checks.check_integer_ids(triage, items, "movieId")
        rating = checks.parse_numbers(triage, chunk.columns["rating"], "rating")
        highest_seen = max(highest_seen, float(rating.max(initial=0.0)))
        triage.reject((rating < LOWEST_RATING) | (rating > highest_rating), Reason.OUT_OF_RANGE, "rating")
        seconds = checks.check_seconds(triage, chunk.columns["timestamp"], "timestamp", latest_seconds)
        known = checks.per_distinct(items, lambda item_id: item_id in item_ids)
        triage.reject(~known, Reason.UNKNOWN_ITEM, "movieId")
        hashes = row_hashes(*(value_hashes(values) for values in (users, items, rating, seconds)))
        triage.reject(duplicates.check(hashes, triage.accepted), Reason.DUPLICATE_ROW)
        _close_chunk(session, ratings, chunk, triage)
        kept = triage.accepted
        micros = pa.array(seconds[kept].astype(np.int64) * 1_000_000).cast(TIMESTAMP)
        columns = [pa.array(users[kept], pa.string()), pa.array(items[kept], pa.string()), micros]
        session.append_interactions(
            pa.Table.from_arrays([*columns, pa.array(rating[kept])], schema=_INTERACTIONS)
        )
        progress.advance(chunk.bytes_read, f"{session.interactions:,} ratings")
    if session.interactions == 0 and highest_seen > highest_rating:
        raise DataFolderError(
            ratings.path,
            "rating",
            f"goes up to {highest_seen:g}, and {highest_rating:g} is the most that counts: for a scale that "
            f"ends at {highest_seen:g} pass --highest-rating {highest_seen:g}",
        )
    session.interactions_done(ratings.path)
    progress.finish(f"{session.interactions:,} ratings")


def _close_chunk(session: ImportSession, source: _Source, chunk: Chunk, triage: Triage) -> None:
    rejected = triage.quarantined(chunk.lines.__getitem__, chunk.raw.__getitem__)
    rows = sorted([*chunk.rejected, *rejected], key=lambda row: row.line)
    session.quarantine(source.path, rows, rows_read=chunk.rows_read)
    session.repaired(source.path, triage.repaired())


def _topics(genres: str) -> list[str]:
    if genres.strip() in _NO_GENRES:
        return []
    return list(dict.fromkeys(topic for name in genres.split("|") if (topic := name.strip())))


def _published(triage: Triage, titles: Objects) -> list[datetime | None]:
    """The first of January of the year in each title; None without one or where it is out of range."""
    matches = [_TITLE_YEAR.search(title) for title in titles]
    years = [int(match.group(1)) if match else None for match in matches]
    usable = [y is not None and checks.EARLIEST_YEAR <= y <= checks.LATEST_YEAR for y in years]
    faults = Triage(len(years))
    outside = [y is not None and not inside for y, inside in zip(years, usable, strict=True)]
    faults.reject(np.array(outside, np.bool_), Reason.OUT_OF_RANGE, "published_at")
    triage.repair(faults)
    return [
        datetime(y, 1, 1, tzinfo=UTC) if y is not None and inside else None
        for y, inside in zip(years, usable, strict=True)
    ]
