"""The checks that the importers share, vectorised over one chunk of rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW, MAXIMUM_ID_CHARACTERS, UNKNOWN
from streamrec.contracts.events import InteractionKind, interaction_kind
from streamrec.datasets.quarantine import Reason, Triage

MAX_ATTRIBUTE_CHARACTERS: Final = 256
"""Bound of a creator's name and of a topic, which nobody sends back to us as an id."""

MAX_TEXT_CHARACTERS: Final = 1_024
"""Bound of a title."""

MAX_TOPICS: Final = 64

EARLIEST_YEAR: Final = 1800
LATEST_YEAR: Final = 2200
"""A publication date outside these years is a mistake (and would not fit into nanoseconds since 1970)."""

_WHOLE_WITH_POINT: Final = re.compile(r"[0-9]+\.0+")
_ISO_DATE: Final = re.compile(r"\s*\d{4}-\d{2}-\d{2}")
_SAMPLE: Final = 1_000
_YEAR_OR_DATE: Final = re.compile(r"(-?\d{1,6})(?:-\d{2}-\d{2}(?:[T ][0-9:.+Z-]*)?)?", re.ASCII)

Objects = NDArray[np.object_]
"""A column of Python strings; None where the source has no value."""


def as_objects(values: list[Any]) -> Objects:
    """A column from a list, one element each, whatever the elements are."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def check_ids(triage: Triage, values: Objects, field: str) -> None:
    """Reject rows whose identifier is empty, too long or holds control characters."""
    doubtful = np.flatnonzero(~_are_plain_ids(values))
    for reason, test in _ID_TESTS:
        wrong = np.zeros(len(values), dtype=np.bool_)
        wrong[doubtful] = per_distinct(values[doubtful], test)
        triage.reject(wrong, reason, field)


def _are_plain_ids(values: Objects) -> NDArray[np.bool_]:
    """Shape (rows,): printable ASCII without blanks and not too long, which `_ID_TESTS` need not look at."""
    try:
        texts = pa.array(values, pa.string())
    except (UnicodeEncodeError, pa.ArrowException):  # a lone surrogate somewhere
        return np.zeros(len(values), dtype=np.bool_)
    printable = pc.and_(pc.ascii_is_printable(texts), pc.invert(pc.match_substring(texts, " ")))
    lengths = pc.binary_length(texts)
    fits = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, MAXIMUM_ID_CHARACTERS))
    return np.asarray(pc.and_(printable, fits).fill_null(False))


def check_optional_ids(triage: Triage, values: Objects, field: str) -> None:
    """Reject rows whose attribute, such as the creator, is too long or holds control characters."""
    for reason, test in (
        (Reason.ID_TOO_LONG, _is_too_long_attribute),
        (Reason.CONTROL_CHARACTER, has_control_character),
    ):
        triage.reject(per_distinct(values, test), reason, field)


def repaired_texts(triage: Triage, faults: Triage, values: Objects, max_characters: int) -> Objects:
    """Shorten what is too long and forget what is otherwise wrong; the rows stay and are counted.

    Args:
        triage: Counts the repair.
        faults: What speaks against the values.
        values: Shape (rows,).
        max_characters: The length to shorten to.
    """
    if faults.accepted.all():
        return values
    triage.repair(faults)
    mended = values.copy()
    for row in faults.rejected_rows.tolist():
        too_long = faults.reason(row) in (Reason.ID_TOO_LONG, Reason.TEXT_TOO_LONG)
        shortened = (values[row] or "")[:max_characters] if too_long else None
        mended[row] = None if has_control_character(shortened) else shortened
    return mended


def repaired_names(triage: Triage, values: Objects, field: str) -> Objects:
    """An attribute such as the creator: too long is shortened, otherwise wrong is unknown (None)."""
    faults = Triage(len(values))
    check_utf8(faults, values, field)
    check_optional_ids(faults, values, field)
    return repaired_texts(triage, faults, values, MAX_ATTRIBUTE_CHARACTERS)


def repaired_titles(triage: Triage, values: Objects, field: str) -> Objects:
    """Titles: too long is shortened, what is no UTF-8 is unknown (None)."""
    faults = Triage(len(values))
    check_utf8(faults, values, field)
    check_text(faults, values, field)
    return repaired_texts(triage, faults, values, MAX_TEXT_CHARACTERS)


def repaired_topics(triage: Triage, rows: list[list[str]], field: str) -> list[list[str]]:
    """Lists without the topics that cannot be used, at most `MAX_TOPICS` each; the rows stay."""
    faults = Triage(len(rows))
    check_topics(faults, rows, field)
    if faults.accepted.all():
        return rows
    triage.repair(faults)
    mended = list(rows)
    for row in faults.rejected_rows.tolist():
        usable = [topic for topic in rows[row] if not _has_surrogate(topic)]
        shortened = [topic[:MAX_ATTRIBUTE_CHARACTERS].strip() for topic in usable]
        named = (topic for topic in shortened if topic and not has_control_character(topic))
        mended[row] = list(dict.fromkeys(named))[:MAX_TOPICS]
    return mended


def check_integer_ids(triage: Triage, values: Objects, field: str) -> None:
    """Reject rows whose identifier is not a whole number written in ASCII digits."""
    check_ids(triage, values, field)
    triage.reject(~per_distinct(values, _is_digits), Reason.NOT_A_NUMBER, field)


def check_text(triage: Triage, values: Objects, field: str) -> None:
    """Reject rows whose text is longer than a title may be."""
    triage.reject(
        per_distinct(values, lambda text: len(text or "") > MAX_TEXT_CHARACTERS), Reason.TEXT_TOO_LONG, field
    )


def check_kinds(
    triage: Triage, values: Objects, field: str, more: Mapping[str, InteractionKind] | None = None
) -> Objects:
    """Shape (rows,): each event in our word for it, None where there is none; rejects unknown words."""
    kinds = {word: None if is_blank(word) else interaction_kind(word, more) for word in set(values.tolist())}
    known = as_objects([kinds[word] and str(kinds[word]) for word in values.tolist()])
    unknown = per_distinct(values, lambda word: not is_blank(word) and kinds[word] is None)
    triage.reject(unknown, Reason.UNKNOWN_EVENT, field)
    return known


def check_utf8(triage: Triage, values: Objects, field: str) -> None:
    """Reject rows whose text was no UTF-8, which a lone surrogate in it tells."""
    triage.reject(per_distinct(values, _has_surrogate), Reason.INVALID_UTF8, field)


def check_topics(triage: Triage, rows: list[list[str]], field: str) -> None:
    """Reject rows with too many topics, or with one that could not be an identifier."""
    triage.reject(
        np.array([len(topics) > MAX_TOPICS for topics in rows], np.bool_), Reason.OUT_OF_RANGE, field
    )
    for reason, test in (
        (Reason.INVALID_UTF8, _has_surrogate),
        (Reason.ID_TOO_LONG, _is_too_long_attribute),
        (Reason.CONTROL_CHARACTER, has_control_character),
    ):
        bad = {topic for topic in {topic for topics in rows for topic in topics} if test(topic)}
        if bad:
            triage.reject(np.array([not bad.isdisjoint(topics) for topics in rows], np.bool_), reason, field)


def check_times(
    triage: Triage, micros: NDArray[np.int64], known: NDArray[np.bool_], field: str, latest: datetime
) -> None:
    """Reject events before 1970 or after ``latest``; a missing time passes."""
    triage.reject(known & (micros < 0), Reason.NEGATIVE_TIMESTAMP, field)
    triage.reject(known & (micros > _micros(latest)), Reason.FUTURE_TIMESTAMP, field)


def check_published(triage: Triage, micros: NDArray[np.int64], known: NDArray[np.bool_], field: str) -> None:
    """Reject dates outside `EARLIEST_YEAR` and `LATEST_YEAR`; an announced, future date passes."""
    earliest, latest = (_micros(datetime(y, 1, 1, tzinfo=UTC)) for y in (EARLIEST_YEAR, LATEST_YEAR + 1))
    triage.reject(known & ((micros < earliest) | (micros >= latest)), Reason.OUT_OF_RANGE, field)


def whole_numbers(values: Objects) -> Objects:
    """``12.0`` as ``12``, which is how a table tool writes a whole number once a column held a gap."""
    column = values.tolist()
    written = {value: value.partition(".")[0] for value in set(column) if _WHOLE_WITH_POINT.fullmatch(value)}
    return as_objects([written.get(value, value) for value in column]) if written else values


def unit_per_second(values: NDArray[np.float64]) -> int:
    """How many of a column's units make a second: 1, 1,000 (ms), 1,000,000 or 1,000,000,000.

    Told by the middle value, so that one absurd row changes nothing: in seconds it would lie after the year
    5000 for each of the others.
    """
    known = np.abs(values[np.isfinite(values)])
    middle = float(np.median(known)) if known.size else 0.0
    return next(
        (unit for unit, limit in ((1, 1e11), (1_000, 1e14), (1_000_000, 1e17)) if middle < limit),
        1_000_000_000,
    )


def check_seconds(triage: Triage, values: Objects, field: str, latest_seconds: float) -> NDArray[np.float64]:
    """Parse times: numbers since 1970 (seconds, ms, us or ns) or ISO 8601 (UTC where there is no zone).

    Rejects what is neither, not a whole second, negative or in the future.

    Returns:
        Shape (rows,): seconds since 1970; meaningless in rejected rows.
    """
    if _are_iso_times(values):
        return _iso_seconds(triage, values, field, latest_seconds)
    numbers = parse_numbers(triage, values, field)
    unit = unit_per_second(numbers[triage.accepted])
    seconds = numbers if unit == 1 else np.floor(numbers / unit)
    triage.reject(seconds != np.floor(seconds), Reason.NOT_A_TIME, field)
    triage.reject(seconds < 0, Reason.NEGATIVE_TIMESTAMP, field)
    triage.reject(seconds > latest_seconds, Reason.FUTURE_TIMESTAMP, field)
    return seconds


def _are_iso_times(values: Objects) -> bool:
    """Whether at least half of the values begin like a date; a few wrong rows change nothing."""
    sample = [value for value in values[:_SAMPLE].tolist() if not is_blank(value)]
    dates = sum(_ISO_DATE.match(value) is not None for value in sample)
    return dates > 0 and 2 * dates >= len(sample)


def _iso_seconds(triage: Triage, values: Objects, field: str, latest_seconds: float) -> NDArray[np.float64]:
    blank = per_distinct(values, is_blank)
    triage.reject(blank, Reason.MISSING_FIELD, field)
    series = pd.Series(values, dtype=object).where(~blank, None)
    times = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
    triage.reject(times.isna().to_numpy(), Reason.NOT_A_TIME, field)
    seconds: NDArray[np.float64] = (
        times.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.float64)
    )
    seconds[times.isna().to_numpy()] = 0.0
    triage.reject(seconds < 0, Reason.NEGATIVE_TIMESTAMP, field)
    triage.reject(seconds > latest_seconds, Reason.FUTURE_TIMESTAMP, field)
    return seconds


def parse_numbers(triage: Triage, values: Objects, field: str) -> NDArray[np.float64]:
    """Parse numbers; reject empty fields, words, NaN and infinities.

    Returns:
        Shape (rows,): zero in rejected rows.
    """
    series = pd.Series(values, dtype=object)
    numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        triage.reject(bad & per_distinct(values, is_blank), Reason.MISSING_FIELD, field)
        triage.reject(bad & per_distinct(values, _is_not_finite_word), Reason.NOT_FINITE, field)
        triage.reject(bad & ~np.isinf(numbers), Reason.NOT_A_NUMBER, field)
        triage.reject(bad, Reason.NOT_FINITE, field)
        numbers[bad] = 0.0
    return numbers


def per_distinct(values: Objects, test: Callable[[str | None], bool]) -> NDArray[np.bool_]:
    """Shape (rows,): ``test`` of each value, called once per distinct one."""
    # Not pandas.factorize: it takes "7" and "7\\0" for the same text.
    column = values.tolist()
    verdicts = {value: test(value) for value in set(column)}
    return np.fromiter(map(verdicts.__getitem__, column), np.bool_, len(column))


def has_control_character(text: str | None) -> bool:
    """Whether ``text`` holds a control character (NUL, tab, newline, C1, ...)."""
    if text is None or text.isprintable():
        return False
    return any(unicodedata.category(character) == "Cc" for character in text)


def language_or_unknown(text: str | None) -> str:
    """A language's name without surrounding blanks; ``unknown`` for none."""
    name = (text or "").strip()
    return UNKNOWN if not name or name.casefold() in ("none", "nan", "n/a", UNKNOWN) else name


def latest_timestamp(now: datetime | None) -> datetime:
    """The latest time that an event may carry, given the clock (default: the machine's)."""
    return (now or datetime.now(UTC)) + MAXIMUM_CLOCK_SKEW


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def is_blank(text: str | None) -> bool:
    """Whether there is nothing but blanks."""
    return text is None or not text.strip()


def is_far_year(text: str | None) -> bool:
    """Whether ``text`` is a year or an ISO 8601 date before `EARLIEST_YEAR` or after `LATEST_YEAR`.

    Years before our era, such as -0750-01-01, are such years.
    """
    match = _YEAR_OR_DATE.fullmatch(text.strip()) if text is not None else None
    return match is not None and not EARLIEST_YEAR <= int(match.group(1)) <= LATEST_YEAR


def _has_surrogate(text: str | None) -> bool:
    return text is not None and not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_too_long_id(text: str | None) -> bool:
    return text is not None and len(text) > MAXIMUM_ID_CHARACTERS


def _is_too_long_attribute(text: str | None) -> bool:
    return text is not None and len(text) > MAX_ATTRIBUTE_CHARACTERS


def _is_digits(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


def _is_not_finite_word(text: str | None) -> bool:
    return text is not None and text.strip().lstrip("+-").casefold() in ("nan", "inf", "infinity")


_ID_TESTS: Final = (
    (Reason.INVALID_UTF8, _has_surrogate),
    (Reason.MISSING_FIELD, is_blank),
    (Reason.ID_TOO_LONG, _is_too_long_id),
    (Reason.CONTROL_CHARACTER, has_control_character),
)
"""What may not be so in an identifier, in the order of the reasons."""
