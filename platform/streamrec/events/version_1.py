"""The documents of version 1 of the log in today's form. Pure.

Version 1 knew impressions, outcomes and quarantined events, told apart by the field ``record``, and had one
writer, whose stages stood in for slots. What it said and no field of today says is kept, as it stood, in
the impression's extension `EXTENSION_SCHEMA`. Nothing is lost and nothing is guessed: version 1 wrote
propensities of 1.0 for every slate, which is right only where nothing was drawn and no stage was missing;
they are unknown elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError

EXTENSION_SCHEMA: Final = "streamrec.impression.v1"
"""Names the extension that holds what version 1 said beyond today's fields."""

SLATE_SLOT: Final = "reranking"
"""Every slate of version 1 came out of this stage, or of one before it where this one was skipped."""

_DRAWING_STAGE: Final = "cold_start"
"""The stage that answered by a random draw."""

_WHOLE_ANSWER: Final = "ranked"
"""The value of ``rung`` where no stage before the last was missing."""

_PRICES: Final = "language_prices"
"""Under this name the revision of the published prices stood among the versions."""

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "impression": frozenset(
        (
            "request_id",
            "user_id",
            "served_at",
            "item_ids",
            "scores",
            "propensities",
            "model_versions",
            "rung",
            "cold_start",
            "latency_ms",
            "variants",
        )
    ),
    "outcome": frozenset(
        (
            "event_id",
            "user_id",
            "item_id",
            "kind",
            "occurred_at",
            "received_at",
            "request_id",
            "value",
        )
    ),
    "quarantined": frozenset(("event_id", "reason", "received_at", "payload")),
}


def migrated(document: Any) -> dict[str, Any]:
    """Return today's document of a document of version 1.

    The types of the fields that keep their meaning are left to whoever reads today's form.

    Raises:
        InvalidInputError: It is none of version 1; names the field.
    """
    if not isinstance(document, dict):
        raise InvalidInputError("record", "is not an object")
    if "record" not in document:
        raise InvalidInputError("schema", "is missing")
    kind = document["record"]
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise InvalidInputError("record", "names no kind of record of version 1")
    fields = {name: value for name, value in document.items() if name != "record"}
    for name in sorted(_FIELDS[kind] - fields.keys()):
        raise InvalidInputError(name, "is missing")
    for name in sorted(fields.keys() - _FIELDS[kind]):
        raise InvalidInputError(ascii(name)[1:-1], "is not a field of this record")
    if kind == "quarantined":
        return {"schema": "streamrec.quarantined_event.v2", **fields}
    fields["unit"] = fields.pop("user_id")
    if kind == "outcome":
        return {"schema": "streamrec.outcome.v2", **fields}
    return _impression(fields)


def _impression(fields: dict[str, Any]) -> dict[str, Any]:
    versions = _whole_numbers("model_versions", fields.pop("model_versions"))
    price_revision = versions.pop(_PRICES, None)
    # A stage was named with low lines, a registered model is named with dashes.
    named = {stage: f"{stage.replace('_', '-')}@{version}" for stage, version in versions.items()}
    propensities = fields.pop("propensities")
    extension: dict[str, Any] = {
        "schema": EXTENSION_SCHEMA,
        "rung": fields.pop("rung"),
        "cold_start": fields.pop("cold_start"),
        "latency_ms": fields.pop("latency_ms"),
    }
    whole = extension["rung"] == _WHOLE_ANSWER and SLATE_SLOT in versions
    if whole and _DRAWING_STAGE not in versions:
        propensity: dict[str, Any] = {"kind": "exact", "values": propensities}
    else:
        propensity = {"kind": "unknown"}
        extension["propensities"] = propensities
    return {
        "schema": "streamrec.impression.v2",
        "slot": SLATE_SLOT,
        "role": "champion",
        "version": named.get(SLATE_SLOT),
        "predicted_at": fields.pop("served_at"),
        "versions": named,
        "propensity": propensity,
        "price_revision": price_revision,
        "extension": extension,
        **fields,
    }


def _whole_numbers(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise InvalidInputError(name, "must be an object")
    for number in value.values():
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidInputError(name, "must hold whole numbers")
    return dict(value)
