"""The state of one rollout: all that is needed to go on with it after whatever drove it has died.

Each transition is an entry of the ledger whose evidence holds the state after it, so the newest entry about a
rollout says where it stands, and what should serve follows from that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
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
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Reason
from streamrec.contracts.slots import SlotName
from streamrec.contracts.specification.fields import MetricName
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.traffic import Salt

ROLLOUT_SCHEMA: Final = "streamrec.rollout.v1"
MAXIMUM_MOVES: Final = 32

RolloutName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""Of one rollout; never used again, also not for a retry."""


class RolloutPhase(StrEnum):
    """Where a rollout stands."""

    PREPARING = "preparing"
    """Replicas load the challenger; nobody is answered by it."""
    SHADOW = "shadow"
    """It is asked beside the champion, and nobody sees its answers."""
    CANARY = "canary"
    """It answers the share of units that the plan's step says."""
    WATCH = "watch"
    """It is champion; harm still rolls it back."""
    COMPLETED = "completed"
    """It is champion, and holds nothing any more."""
    ROLLED_BACK = "rolled_back"
    """The evidence, or somebody, took it back; what served before serves."""
    ABORTED = "aborted"
    """It ended without having been champion, by its deadline, by a problem, or by somebody."""

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self in (RolloutPhase.COMPLETED, RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED)


@dataclass(frozen=True, slots=True)
class Move:
    """What a rollout does in one slot.

    Attributes:
        slot: Which.
        challenger: The version that asks to serve.
        champion: What served when it began; None in an empty slot, where the challenger becomes champion at
            once.
        outcome_metric: Of the challenger's specification; None: no outcome is compared.
        slow_ms: An answer that took the model longer counts as slow: the latency limit of the specification,
            which one answer in a hundred may pass.
        lower_is_better: Whether a larger outcome is the worse one.
    """

    __pydantic_config__ = STRICT

    slot: SlotName
    challenger: ModelRefText
    champion: ModelRefText | None
    outcome_metric: MetricName | None
    slow_ms: Annotated[float, Field(gt=0.0, le=600_000.0, allow_inf_nan=False)]
    lower_is_better: bool = False

    def __post_init__(self) -> None:
        if self.challenger == self.champion:
            raise InvalidInputError("challenger", f"{self.challenger} serves already")


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One rollout.

    Attributes:
        schema: The format.
        rollout: Its name.
        moves: One a slot; several are a bundle and move together.
        plan: As submitted.
        salt: Of the buckets of its units.
        phase: Where it stands.
        step: Index in ``plan.steps`` of the step in force, in the phase `RolloutPhase.CANARY`; else 0.
        paused: Whether somebody has halted it. Harm rolls back also what is paused.
        waits_for: Why it does not go on; empty where it does, or where there is nothing to wait for.
        started_at: When it was asked for.
        phase_began_at: When the phase, or the step, in force began.
        by, role, reason: Who asked for it, in which role, and why.
        without_canary: Whether the challenger becomes champion as soon as it is loaded: somebody asked for
            that.
        number: Of the transition that led here: 1 for the first, one more for each.
        retries: Name of the rollout that it tries again; None where it is the first.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.rollout.v1"] = field(default=ROLLOUT_SCHEMA, kw_only=True)
    rollout: RolloutName
    moves: Annotated[tuple[Move, ...], Field(min_length=1, max_length=MAXIMUM_MOVES)]
    plan: RolloutPlan
    salt: Salt
    phase: RolloutPhase
    step: Annotated[int, Field(ge=0, le=20)]
    paused: bool
    waits_for: Annotated[tuple[Reason, ...], Field(max_length=64)]
    started_at: UtcTime
    phase_began_at: UtcTime
    by: Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROL_CHARACTERS)]
    role: ActorRole
    reason: Annotated[str, Field(max_length=2_000, pattern=NO_CONTROL_CHARACTERS)]
    without_canary: bool = False
    number: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] = 1
    retries: RolloutName | None = None

    def __post_init__(self) -> None:
        slots = [move.slot for move in self.moves]
        if len(set(slots)) < len(slots):
            raise InvalidInputError("moves", "must name each slot once")
        empty = [move.slot for move in self.moves if move.champion is None]
        if empty and len(empty) < len(slots):
            raise InvalidInputError(
                "moves", f"{', '.join(empty)} serve nothing yet and the others do: fill the empty slots first"
            )
        if self.step >= len(self.plan.steps):
            raise InvalidInputError("step", f"must be less than the {len(self.plan.steps)} steps of the plan")

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it holds, in order."""
        return tuple(move.slot for move in self.moves)

    @property
    def fills_empty_slots(self) -> bool:
        """Whether nothing served before: there is nobody to compare with, and no canary."""
        return self.moves[0].champion is None

    @property
    def weight_bp(self) -> int:
        """Share of units that the challenger answers as challenger, in basis points."""
        return self.plan.steps[self.step].weight_bp if self.phase is RolloutPhase.CANARY else 0

    @property
    def champions_load(self) -> bool:
        """Whether the replicas of champions, not only those of challengers, load the challengers now.

        So it is where the challengers are champions, or become so next: in the last step, and where no canary
        comes before it.
        """
        if self.phase is RolloutPhase.PREPARING:
            return self.without_canary or self.fills_empty_slots
        last = self.phase is RolloutPhase.CANARY and self.step == len(self.plan.steps) - 1
        return last or self.phase in (RolloutPhase.WATCH, RolloutPhase.COMPLETED)

    @property
    def challengers(self) -> tuple[ModelRef, ...]:
        """The versions that ask to serve."""
        return tuple(move.challenger for move in self.moves)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RolloutState:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        return read_document(cls, document)
