"""The traffic document: which versions answer in each slot, and whom.

One document for all slots, written by compare-and-set on its revision and followed by every replica.
`assigned` is the rule that every process applies to it. The signature is added where documents are published,
and checked where they are read. Beside it lie the heartbeats of the replicas: whoever changes the document
waits until they say that they have loaded what it is about to send traffic to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    ModelRefText,
    UtcTime,
    document_json,
    read_document,
)
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole, SlotName
from streamrec.contracts.units import BASIS_POINTS, SALT_PATTERN, bucket

TRAFFIC_SCHEMA: Final = "streamrec.traffic.v1"
MAXIMUM_SLOTS: Final = 1_000
MAXIMUM_PREPARED: Final = 1_000

HEARTBEAT_SCHEMA: Final = "streamrec.replica_heartbeat.v1"
PROBLEM_MAXIMUM_CHARACTERS: Final = 1_000
MAXIMUM_LOADED: Final = 64

ReplicaName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]

BasisPoints = Annotated[int, Field(ge=0, le=BASIS_POINTS)]
Salt = Annotated[str, Field(pattern=f"^{SALT_PATTERN}$")]
OwnerName = Annotated[str, Field(min_length=1, max_length=128, pattern=NO_CONTROL_CHARACTERS)]


@dataclass(frozen=True, slots=True)
class Holdback:
    """A share of units that keeps an old version, so that what a rollout changed can be measured later.

    Attributes:
        version: What they get.
        share_bp: How many of them, in basis points.
        salt: Of their buckets; another than the slot's, so that it is not the same units that come first.
        until: When it ends. The writer of the document ends it; replicas do not look at the clock, so that
            all of them answer alike.
    """

    __pydantic_config__ = STRICT

    version: ModelRefText
    share_bp: BasisPoints
    salt: Salt
    until: UtcTime

    def __post_init__(self) -> None:
        if self.until.utcoffset() is None:
            raise InvalidInputError("until", "must have a time zone")


@dataclass(frozen=True, slots=True)
class SlotTraffic:
    """Who answers in one slot.

    Attributes:
        champion: Answers every unit that nobody else does.
        challenger: Answers the units below ``weight_bp``; None outside a rollout or an experiment.
        weight_bp: Share of units that get the challenger's answer, in basis points.
        shadow_bp: Share of units whose requests the challenger computes too, without answering them.
        salt: Of the buckets: one for each rollout, so that it is not always the same units that come first.
        holder: The rollout or experiment that owns the slot; None where nothing does.
        bundle: Name of the slots that change together with this one; None where it stands alone.
        holdback: Units that keep an old version; None where there is none.
    """

    __pydantic_config__ = STRICT

    champion: ModelRefText
    challenger: ModelRefText | None
    weight_bp: BasisPoints
    shadow_bp: BasisPoints
    salt: Salt
    holder: OwnerName | None
    bundle: OwnerName | None
    holdback: Holdback | None


def assigned(slot: SlotTraffic, unit: str) -> tuple[ServingRole, ModelRef]:
    """Who answers a unit: the same at every replica, and monotone as a weight grows.

    A unit whose holdback bucket is below the holdback's share gets the holdback's version; any other gets the
    challenger if its bucket is below the weight, else the champion.

    Args:
        slot: From the document in force.
        unit: See `streamrec.contracts.units.validate_unit`.
    """
    holdback = slot.holdback
    if holdback is not None and bucket(holdback.salt, unit) < holdback.share_bp:
        return ServingRole.HOLDBACK, holdback.version
    if slot.challenger is not None and bucket(slot.salt, unit) < slot.weight_bp:
        return ServingRole.CHALLENGER, slot.challenger
    return ServingRole.CHAMPION, slot.champion


@dataclass(frozen=True, slots=True)
class Traffic:
    """The whole document, without its signature.

    Attributes:
        schema: The format.
        revision: Grows with every change.
        slots: By name; a slot that serves nothing is not in it.
        prepare: Versions that replicas load beside those that answer, so that a later revision can name them.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.traffic.v1"] = field(default=TRAFFIC_SCHEMA, kw_only=True)
    revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    slots: Annotated[
        Mapping[SlotName, SlotTraffic],
        Field(max_length=MAXIMUM_SLOTS, json_schema_extra={"additionalProperties": False}),
    ]
    prepare: Annotated[tuple[ModelRefText, ...], Field(max_length=MAXIMUM_PREPARED)]

    def __post_init__(self) -> None:
        for name, slot in self.slots.items():
            _check_slot(f"slots.{name}", slot)
        _check_bundles(self.slots)
        if len(set(self.prepare)) < len(self.prepare):
            raise InvalidInputError("prepare", "must not name a version twice")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `from_json` reads them.

        Raises:
            InvalidInputError: A field is out of bounds; ``field`` is its dotted path.
        """
        document = document_json(self)
        read_document(Traffic, document)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Traffic:
        """Read a document whose signature was checked and taken off.

        Raises:
            InvalidInputError: It is of another format, or a field is missing, unknown or out of bounds;
                ``field`` is its dotted path.
        """
        if isinstance(document, Mapping) and document.get("schema") != TRAFFIC_SCHEMA:
            raise InvalidInputError("schema", f"must be {TRAFFIC_SCHEMA!r}, which this release reads")
        return read_document(cls, document)


@dataclass(frozen=True, slots=True)
class ReplicaHeartbeat:
    """What one replica says of itself every second or so.

    Attributes:
        schema: The format.
        replica: Its name, safe as the name of a file.
        slot: The slot that it serves.
        role: Whose requests it takes.
        revision: Of the traffic document that it follows; None before the first.
        loaded: Versions that it can answer with.
        problem: Why a version that it should have is not loaded; empty where none is missing.
        at: When it said so.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.replica_heartbeat.v1"] = field(default=HEARTBEAT_SCHEMA, kw_only=True)
    replica: ReplicaName
    slot: SlotName
    role: ServingRole
    revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] | None
    loaded: Annotated[tuple[ModelRefText, ...], Field(max_length=MAXIMUM_LOADED)]
    problem: Annotated[str, Field(max_length=PROBLEM_MAXIMUM_CHARACTERS, pattern=NO_CONTROL_CHARACTERS)]
    at: UtcTime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `from_json` reads them."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ReplicaHeartbeat:
        """Read one.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        if isinstance(document, Mapping) and document.get("schema") != HEARTBEAT_SCHEMA:
            raise InvalidInputError("schema", f"must be {HEARTBEAT_SCHEMA!r}, which this release reads")
        return read_document(cls, document)


def _check_slot(path: str, slot: SlotTraffic) -> None:
    if slot.challenger is None:
        for name in ("weight_bp", "shadow_bp"):
            if getattr(slot, name) != 0:
                raise InvalidInputError(f"{path}.{name}", "must be 0 without a challenger")
    elif slot.challenger == slot.champion:
        raise InvalidInputError(
            f"{path}.challenger", f"must be another version than the champion, {slot.champion}"
        )
    if slot.holdback is not None:
        if slot.holdback.version == slot.challenger:
            raise InvalidInputError(
                f"{path}.holdback.version", f"must be another version than the challenger, {slot.challenger}"
            )
        if slot.holdback.salt == slot.salt:
            raise InvalidInputError(
                f"{path}.holdback.salt",
                "must differ from the slot's salt: else the holdback takes the units that come first",
            )


def _check_bundles(slots: Mapping[str, SlotTraffic]) -> None:
    """A unit gets the new versions in all slots of a bundle or in none: salts and shares must agree."""
    first_of: dict[tuple[str, str], tuple[str, Any]] = {}
    for name, slot in slots.items():
        if slot.bundle is None:
            continue
        shared: dict[str, Any] = {"salt": slot.salt}
        if slot.challenger is not None:
            shared["weight_bp"] = slot.weight_bp
        if slot.holdback is not None:
            shared["holdback.salt"] = slot.holdback.salt
            shared["holdback.share_bp"] = slot.holdback.share_bp
        for part, value in shared.items():
            first, expected = first_of.setdefault((slot.bundle, part), (name, value))
            if value != expected:
                raise InvalidInputError(
                    f"slots.{name}.{part}",
                    f"must be that of {first}, {expected!r}: both slots are of the bundle {slot.bundle!r}",
                )
