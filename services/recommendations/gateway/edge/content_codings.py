"""Content codings of request bodies (RFC 9110, section 8.4): gzip, within a limit."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

SUPPORTED: Final = ("gzip",)

_IDENTITY: Final = "identity"
_ALIASES: Final = {"x-gzip": "gzip"}
_GZIP_WINDOW_BITS: Final = zlib.MAX_WBITS + 16
_MAXIMUM_MEMBERS: Final = 64
"""A gzip file may be several, one behind the other. More than this is no way to compress."""
_QUOTED_CHARACTERS: Final = 40


class CodingError(ValueError):
    """The body cannot be decoded; the message says why."""


class DecodedTooLargeError(CodingError):
    """The body is larger than allowed once it is decoded."""


def coding_of(headers: Sequence[str]) -> str | None:
    """Return the coding that the ``Content-Encoding`` headers name, or None for a plain body.

    Raises:
        CodingError: It is not one of `SUPPORTED`, or there are several.
    """
    named = [token.strip().lower() for header in headers for token in header.split(",")]
    codings = [_ALIASES.get(name, name) for name in named if name not in ("", _IDENTITY)]
    if not codings:
        return None
    if len(codings) > 1:
        raise CodingError("is encoded more than once; send it plain or with gzip")
    if codings[0] not in SUPPORTED:
        raise CodingError(
            f"has the content encoding {codings[0][:_QUOTED_CHARACTERS]!r}, which is not read; "
            "send it plain or with gzip"
        )
    return codings[0]


def gunzip(body: bytes, maximum_bytes: int) -> bytes:
    """Return the decompressed body, without ever making more of it than ``maximum_bytes``.

    Raises:
        DecodedTooLargeError: It would be more.
        CodingError: It is no gzip stream, damaged, or ends too early.
    """
    parts: list[bytes] = []
    length = 0
    for _ in range(_MAXIMUM_MEMBERS):
        member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            part = member.decompress(body, maximum_bytes - length + 1)
        except zlib.error as error:
            raise CodingError("is said to be gzip and is not, or is damaged") from error
        length += len(part)
        if length > maximum_bytes:
            raise DecodedTooLargeError
        if not member.eof:
            raise CodingError("is gzip that ends too early")
        parts.append(part)
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise CodingError(f"is gzip of more than {_MAXIMUM_MEMBERS} members")
