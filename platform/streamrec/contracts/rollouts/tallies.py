"""What a service counts of the answers in each slot: sums that only grow, for whoever decides a rollout.

A tally is a small file beside the heartbeats, one for each process that answers. It is exact about which step
of which rollout an answer belongs to, since the process knows that when it answers; and it counts what no
event can say, such as a challenger that died before it answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, ModelRefText, UtcTime, document_json, read_document
from streamrec.contracts.slots import ServingRole, SlotName
from streamrec.contracts.traffic import BasisPoints, OwnerName, ReplicaName

SERVED_TALLY_SCHEMA: Final = "streamrec.served_tally.v1"
MAXIMUM_ROWS: Final = 512

_BUCKETS_PER_DOUBLING: Final = 4
_LEAST_MS: Final = 0.125
LATENCY_BUCKETS: Final = 80
"""Upper edges grow by a fifth each, from an eighth of a millisecond to about two minutes."""

Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


def latency_bucket(latency_ms: float) -> int:
    """Bucket of a latency: ``n`` holds what is over `upper_edge_ms` of ``n - 1``, not over that of ``n``."""
    if latency_ms <= _LEAST_MS:
        return 0
    exact = math.ceil(_BUCKETS_PER_DOUBLING * math.log2(latency_ms / _LEAST_MS))
    return min(exact, LATENCY_BUCKETS - 1)


def upper_edge_ms(bucket: int) -> float:
    """Largest latency of a bucket."""
    return float(_LEAST_MS * 2.0 ** (bucket / _BUCKETS_PER_DOUBLING))


@dataclass(frozen=True, slots=True)
class Answers:
    """How a version answered what it was asked.

    Every request is counted once in ``asked``; what went wrong with it once in the first of ``failed``,
    ``malformed`` and ``late`` that fits.

    Attributes:
        asked: Requests that it was asked for.
        failed: It raised, was not there, refused, or its replica died.
        malformed: It answered what must not be shown: NaN, another length, duplicates, unknown items.
        late: It was not done in the time that it was given.
        degraded: Answers to users that were less than they should have been, in which it took part.
        disagreed: Of a shadow: answers other than those of the champion to the same request.
        latency: Answers by `latency_bucket` of the model's own time, waiting for its turn included and the
            way to it left out; only those that came in time.
    """

    __pydantic_config__ = STRICT

    asked: Count = 0
    failed: Count = 0
    malformed: Count = 0
    late: Count = 0
    degraded: Count = 0
    disagreed: Count = 0
    latency: Annotated[Mapping[str, Count], Field(max_length=LATENCY_BUCKETS)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.failed + self.malformed + self.late > self.asked:
            raise InvalidInputError("asked", "must be at least what failed, was malformed or late together")
        for name in self.latency:
            if not (name.isascii() and name.isdigit() and int(name) < LATENCY_BUCKETS):
                raise InvalidInputError(
                    f"latency.{name}", f"must be a bucket from 0 to {LATENCY_BUCKETS - 1}"
                )

    def __add__(self, other: Answers) -> Answers:
        """Both together."""
        return Answers(
            self.asked + other.asked,
            self.failed + other.failed,
            self.malformed + other.malformed,
            self.late + other.late,
            self.degraded + other.degraded,
            self.disagreed + other.disagreed,
            {
                name: self.latency.get(name, 0) + other.latency.get(name, 0)
                for name in sorted({*self.latency, *other.latency}, key=int)
            },
        )

    @property
    def wrong(self) -> int:
        """Requests that failed, were malformed or late."""
        return self.failed + self.malformed + self.late

    def slower_than(self, limit_ms: float) -> int:
        """Answers whose bucket lies wholly beyond ``limit_ms``."""
        return sum(
            n for name, n in self.latency.items() if int(name) and upper_edge_ms(int(name) - 1) >= limit_ms
        )


@dataclass(frozen=True, slots=True)
class TallyRow:
    """The answers of one version in one slot and role, under one step.

    Attributes:
        slot, role, version: Who answered.
        holder: The rollout or experiment that held the slot; None where none did.
        weight_bp: Share of the challenger then.
        answers: Counted since the process began.
    """

    __pydantic_config__ = STRICT

    slot: SlotName
    role: ServingRole
    version: ModelRefText
    holder: OwnerName | None
    weight_bp: BasisPoints
    answers: Answers


@dataclass(frozen=True, slots=True)
class ServedTally:
    """All that one process has counted since it began.

    Attributes:
        schema: The format.
        server: Name of the process, never used again: after a restart it counts from nothing.
        at: When it was written.
        rows: At most `MAXIMUM_ROWS`, the newest steps; what holds nothing any more is let go first.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.served_tally.v1"] = field(default=SERVED_TALLY_SCHEMA, kw_only=True)
    server: ReplicaName
    at: UtcTime
    rows: Annotated[tuple[TallyRow, ...], Field(max_length=MAXIMUM_ROWS)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ServedTally:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        return read_document(cls, document)
