"""The values of foreign columns as the neutral format's: one function a kind of field, Arrow in, Arrow out.

What cannot be turned stays as it is, so that the checks reject its row and no other.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.datasets.importers import checks

_YEAR: Final = re.compile(r"-?[0-9]{1,4}(\.0+)?")
_NUMBER: Final = r"^\s*-?[0-9]+(\.[0-9]*)?([eE]\+?[0-9]+)?\s*$"
_WHOLE_WITH_POINT: Final = r"^([0-9]+)\.0+$"
_LARGEST_WHOLE_DIGITS: Final = 18  # of which every number fits 64 bits
_EXACT: Final = float(2**53)
_NO_TOPICS: Final = b"(no genres listed)"  # in files of MovieLens
_UNITS: Final = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (1e20, 0.001))
"""Of numbers up to so much, the microseconds in one: they are s, ms, us or ns since 1970."""

_MICROSECONDS: Final = pa.timestamp("us")


class UnfitColumnError(ValueError):
    """A column has a type that the field cannot have; the text says which it can have."""


def identifiers(values: pa.Array) -> pa.Array:
    """Ids as text: ``12.0`` is ``12``, as table tools write a whole number once the column held a gap."""
    values = texts(values)
    if pc.any(pc.match_substring(values, ".0")).as_py():
        values = pc.replace_substring_regex(values, _WHOLE_WITH_POINT, r"\1")
    return values


def texts(values: pa.Array) -> pa.Array:
    """Text or bytes.

    Raises:
        UnfitColumnError: The column holds lists or the like.
    """
    values, kind = _plain(values)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return values
    if pa.types.is_fixed_size_binary(kind) or _is_view_of(kind, pa.types.is_binary_view):
        return values.cast(pa.binary())
    if pa.types.is_large_binary(kind):
        return values.cast(pa.binary())
    if pa.types.is_nested(kind):
        raise UnfitColumnError(f"has the type {kind}; it must hold text or numbers")
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values).fill_null(False), None, values)
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _EXACT)).fill_null(False)
        if pc.all(pc.or_(whole, pc.is_null(values))).as_py():
            return values.cast(pa.int64()).cast(pa.string())
    return values.cast(pa.string())


def ratings(values: pa.Array) -> pa.Array:
    """Numbers, or text that holds them.

    Raises:
        UnfitColumnError: The column holds times, lists or the like.
    """
    values, kind = _plain(values)
    if pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind):
        return values
    raise UnfitColumnError(f"has the type {kind}; it must hold numbers")


def times(values: pa.Array) -> pa.Array:
    """Times, from ISO 8601 text or from numbers, which are s, ms, us or ns since 1970 by their size.

    Raises:
        UnfitColumnError: The column holds times of a day, lists or the like.
    """
    values, kind = _plain(values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind):
        return values if not pa.types.is_null(kind) else values.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        whole = pa.types.is_signed_integer(kind)
        numbers = values.cast(pa.int64() if whole else pa.float64(), safe=False)
        if not whole:
            numbers = pc.if_else(pc.is_nan(numbers).fill_null(False), None, numbers)
        return _moments_or(numbers, numbers.cast(pa.string()))
    if not _is_text(kind):
        raise UnfitColumnError(
            f"has the type {kind}; it must hold timestamps, ISO 8601 text or numbers since 1970"
        )
    try:
        return _times_of_text(values.cast(pa.string()))
    except pa.ArrowInvalid:  # not all of it is UTF-8
        return values


def publications(values: pa.Array) -> pa.Array:
    """As `times`, but a number of one to four digits is a year, and not an hour of 1970."""
    values, kind = _plain(values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind):
        return values
    written = texts(values)
    try:
        written = written.cast(pa.string())
    except pa.ArrowInvalid:
        return written
    dates = [
        text if text is None or not _YEAR.fullmatch(text.strip()) else f"{int(float(text)):04d}-01-01"
        for text in written.to_pylist()
    ]
    return times(pa.array(dates, pa.string()))


def topics(values: pa.Array, separator: str) -> pa.Array:
    """Lists of text; nested lists become one.

    Raises:
        UnfitColumnError: The lists hold neither text nor what can be written as such.
    """
    if pa.types.is_null(values.type):
        return values
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        inner = values.type.value_type
        if pa.types.is_list(inner) or pa.types.is_null(inner):
            flat = [
                None if row is None else [part for one in row for part in (one or ())]
                for row in values.to_pylist()
            ]
            return pa.array(flat, pa.list_(pa.string()))
        if _is_text(inner):
            return values
        try:
            return values.cast(pa.list_(pa.string()))
        except pa.ArrowException as error:
            raise UnfitColumnError(
                f"has the type {values.type}; it must hold text or lists of text"
            ) from error
    written = texts(values)
    none = pc.equal(written.cast(pa.binary()), _NO_TOPICS).fill_null(False)
    return pc.split_pattern(pc.if_else(none, None, written), separator)


def _plain(values: pa.Array) -> tuple[pa.Array, pa.DataType]:
    """Without a dictionary, and not of a large or viewed kind of text."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_large_string(values.type) or _is_view_of(values.type, pa.types.is_string_view):
        values = values.cast(pa.string())
    return values, values.type


def _is_view_of(kind: pa.DataType, test: Any) -> bool:
    return bool(test(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_null(kind)
    )


def _times_of_text(text: pa.Array) -> pa.Array:
    longest = pc.max(pc.binary_length(text)).as_py() or 0
    if longest <= _LARGEST_WHOLE_DIGITS and pc.all(pc.ascii_is_decimal(text)).as_py():
        return _since_1970(text.cast(pa.int64()))
    for kind in (_MICROSECONDS, pa.timestamp("us", "UTC")):
        try:
            iso = text.cast(kind)
        except pa.ArrowInvalid:
            continue
        years = pc.min_max(pc.year(iso)).as_py()
        if years["min"] is None or (
            years["min"] >= checks.EARLIEST_YEAR and years["max"] <= checks.LATEST_YEAR
        ):
            return iso
    numeric = pc.match_substring_regex(text, _NUMBER)
    numbers = pc.utf8_trim_whitespace(pc.if_else(numeric, text, None)).cast(pa.float64())
    return _moments_or(numbers, text)


def _moments_or(numbers: pa.Array, text: pa.Array) -> pa.Array:
    """Times of all ``numbers``, or text where there is no time in a place where there is text."""
    moments = _since_1970(numbers)
    if moments.null_count == text.null_count:
        return moments
    return pc.if_else(pc.is_valid(moments), moments.cast(pa.string()), text)


def _since_1970(numbers: pa.Array) -> pa.Array:
    """Microseconds since 1970; null where there is no number or an absurd one."""
    known = np.asarray(numbers.is_valid())
    counts = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    sizes = np.abs(counts.astype(np.float64))
    usable = known & (sizes <= _UNITS[-1][0])
    micros: NDArray[np.int64] = np.zeros(len(counts), np.int64)
    lowest = -1.0
    for highest, factor in _UNITS:
        here = usable & (sizes > lowest) & (sizes <= highest)
        if here.any():
            scaled = counts[here] * (int(factor) if factor >= 1 else factor)
            micros[here] = np.round(scaled).astype(np.int64)
        lowest = highest
    return pa.array(micros, pa.int64(), mask=~usable).cast(_MICROSECONDS)
