"""The signed form of a document, and the checks that it has to pass.

A document is a JSON object: ``schema`` (``streamrec.NAME.vN``), ``revision`` (1 or more), the fields that its
kind has, and ``signature``: ``{"algorithm": "ed25519", "key_id": ..., "value": ...}``. The signature covers
the canonical JSON (RFC 8785) of everything but itself. What is published is the canonical JSON of the whole,
and nothing else is accepted, so that every bit of a published document is covered: a changed one either
breaks the signature or is not the canonical form.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from streamrec.contracts.canonical_json import LARGEST_INTEGER, canonical_json, parse_json
from streamrec.contracts.errors import DocumentRefusedError, InvalidInputError
from streamrec.documents.refusals import Refusal
from streamrec.documents.signing import ALGORITHM, SigningKey, TrustedKeys

SCHEMA_FIELD: Final = "schema"
REVISION_FIELD: Final = "revision"
SIGNATURE_FIELD: Final = "signature"
ENVELOPE_FIELDS: Final = frozenset({SCHEMA_FIELD, REVISION_FIELD, SIGNATURE_FIELD})
"""The fields that every document has; a kind's own fields have other names."""

HIGHEST_REVISION: Final = LARGEST_INTEGER

_SIGNATURE_KEYS: Final = frozenset({"algorithm", "key_id", "value"})
_QUOTED_MAXIMUM_LENGTH: Final = 60


def sign(document: Mapping[str, Any], key: SigningKey) -> bytes:
    """Return the bytes to publish.

    Args:
        document: ``schema``, ``revision`` and the kind's own fields; no ``signature``.
        key: Signs it.

    Raises:
        InvalidInputError: A field has no canonical JSON, the revision is none, or there is a signature
            already.
    """
    if SIGNATURE_FIELD in document:
        raise InvalidInputError(SIGNATURE_FIELD, "is added by signing; the document must not have one yet")
    if not isinstance(document.get(SCHEMA_FIELD), str):
        raise InvalidInputError(SCHEMA_FIELD, "must be text such as 'streamrec.NAME.v1'")
    if not is_revision(document.get(REVISION_FIELD)):
        raise InvalidInputError(REVISION_FIELD, f"must be an integer in 1..{HIGHEST_REVISION}")
    value = base64.b64encode(key.sign(canonical_json(document))).decode("ascii")
    signature = {"algorithm": ALGORITHM, "key_id": key.key_id, "value": value}
    return canonical_json({**document, SIGNATURE_FIELD: signature})


def verify(content: bytes, trust: TrustedKeys, schema: str, maximum_bytes: int) -> dict[str, Any]:
    """Read what `sign` made; trusts nothing before the signature is checked.

    Args:
        content: What lies where a document is published.
        trust: Whose signatures count.
        schema: The one that the caller reads.
        maximum_bytes: Longer content is refused before it is parsed.

    Returns:
        The document without its signature.

    Raises:
        DocumentRefusedError: Its ``code`` is one of `Refusal`.
    """
    if len(content) > maximum_bytes:
        raise _refused(Refusal.TOO_LARGE, f"has more than {maximum_bytes} bytes, the most that is accepted")
    try:
        document = parse_json(content, maximum_bytes=maximum_bytes)
        is_canonical = canonical_json(document) == content
    except InvalidInputError as error:
        raise _refused(Refusal.MALFORMED, f"is no JSON document that could be signed: {error}") from error
    if SIGNATURE_FIELD not in document:
        raise _refused(Refusal.UNSIGNED, "is not signed; publish it again, which signs it")
    if not is_canonical:
        raise _refused(
            Refusal.MALFORMED,
            "is not in the canonical form of RFC 8785; publish it again instead of editing it",
        )
    _check_signature(document.pop(SIGNATURE_FIELD), document, trust)
    if document.get(SCHEMA_FIELD) != schema:
        found = ascii(str(document.get(SCHEMA_FIELD))[:_QUOTED_MAXIMUM_LENGTH])
        raise _refused(Refusal.UNKNOWN_SCHEMA, f"has the schema {found}; this release reads '{schema}' here")
    if not is_revision(document.get(REVISION_FIELD)):
        raise _refused(
            Refusal.INVALID_CONTENT, f"has no revision, which is an integer in 1..{HIGHEST_REVISION}"
        )
    return document


def named_key(content: bytes, maximum_bytes: int) -> str | None:
    """Which key a document says that it is signed by; None where it says none. Nothing is verified."""
    try:
        signature = parse_json(content, maximum_bytes=maximum_bytes).get(SIGNATURE_FIELD)
    except InvalidInputError:
        return None
    key_id = signature.get("key_id") if isinstance(signature, dict) else None
    return key_id if isinstance(key_id, str) else None


def is_revision(value: object) -> bool:
    """Whether ``value`` can be the revision of a document."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= HIGHEST_REVISION


def _check_signature(signature: object, document: Mapping[str, Any], trust: TrustedKeys) -> None:
    if not isinstance(signature, dict) or signature.keys() != _SIGNATURE_KEYS:
        expected = ", ".join(sorted(_SIGNATURE_KEYS))
        raise _refused(Refusal.WRONG_SIGNATURE, f"has a signature that is no object with exactly {expected}")
    if signature["algorithm"] != ALGORITHM:
        raise _refused(Refusal.WRONG_SIGNATURE, f"has a signature whose algorithm is not '{ALGORITHM}'")
    key_id = signature["key_id"]
    if not isinstance(key_id, str):
        raise _refused(Refusal.WRONG_SIGNATURE, "has a signature whose key_id is not text")
    shown = ascii(key_id[:_QUOTED_MAXIMUM_LENGTH])
    if key_id in trust.revoked:
        raise _refused(
            Refusal.REVOKED_KEY, f"is signed by the key {shown}, which was revoked; publish it again"
        )
    key = trust.keys.get(key_id)
    if key is None:
        raise _refused(
            Refusal.UNKNOWN_KEY,
            f"is signed by the key {shown}, which is not trusted here; see 'streamrec keys list'",
        )
    value = _signature_bytes(signature["value"])
    if value is None or not key.verifies(value, canonical_json(document)):
        raise _refused(
            Refusal.WRONG_SIGNATURE, f"was changed after the key {shown} signed it; publish it again"
        )


def _signature_bytes(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Base 64 has spare bits in its last digit: the same signature must not have two spellings.
    return decoded if base64.b64encode(decoded).decode("ascii") == value else None


def _refused(code: Refusal, problem: str) -> DocumentRefusedError:
    return DocumentRefusedError(code, f"the document {problem}")
