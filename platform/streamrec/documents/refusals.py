"""Why a document is refused: a closed list, so that refusals can be counted by reason."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """The code of a `streamrec.contracts.errors.DocumentRefusedError`."""

    TOO_LARGE = "too_large"
    """More bytes than a document of this kind may have."""

    MALFORMED = "malformed"
    """Not strict JSON (cut off, NaN, a key twice, too deep), or not in the canonical form."""

    UNSIGNED = "unsigned"
    """There is no signature."""

    UNKNOWN_KEY = "unknown_key"
    """Signed by a key that is not trusted here."""

    REVOKED_KEY = "revoked_key"
    """Signed by a key that was revoked, before or after the revocation."""

    WRONG_SIGNATURE = "wrong_signature"
    """The signature does not belong to this content."""

    UNKNOWN_SCHEMA = "unknown_schema"
    """Authentic, but a document of another kind or of another version."""

    INVALID_CONTENT = "invalid_content"
    """Authentic and of the right kind, but a field is missing or out of its range."""

    OLDER_REVISION = "older_revision"
    """A lower revision than the one in force."""

    CHANGED_CONTENT = "changed_content"
    """The revision in force, with other content: somebody published around the compare-and-set."""

    UNREADABLE = "unreadable"
    """The document or the trusted keys could not be read; it may be there again with the next look."""

    DEFECT = "defect"
    """Reading it failed in a way that nobody foresaw; the log has the traceback."""
