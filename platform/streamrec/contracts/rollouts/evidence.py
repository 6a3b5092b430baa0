"""What a rollout is decided by: counts of each arm under each step, as known at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    UtcTime,
    document_json,
    read_document,
)
from streamrec.contracts.rollouts.tallies import Answers, Count
from streamrec.contracts.slots import SlotName
from streamrec.contracts.traffic import BasisPoints

ROLLOUT_EVIDENCE_SCHEMA: Final = "streamrec.rollout_evidence.v1"

_Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class UnitSums:
    """Sums over units of an outcome: those of `streamrec.stats.clustered_ratios.RatioMoments`, as JSON.

    Attributes:
        units: How many.
        x, y: What the metric counts (clicks, say), and what it is over (requests), summed.
        xx, xy, yy: Their products, summed over units.
    """

    __pydantic_config__ = STRICT

    units: Count = 0
    x: _Number = 0.0
    y: _Number = 0.0
    xx: _Number = 0.0
    xy: _Number = 0.0
    yy: _Number = 0.0


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """What was seen in one slot under one step.

    Attributes:
        weight_bp: Share of the challenger; 0 for the shadow and the watch.
        champion, challenger, shadow, holdback: Answers of each arm. In the watch the new version is the
            champion.
        outcome_champion, outcome_challenger, outcome_holdback: Outcomes of the units assigned to each arm,
            whoever answered them; None where no outcome is compared.
    """

    __pydantic_config__ = STRICT

    weight_bp: BasisPoints
    champion: Answers = field(default_factory=Answers)
    challenger: Answers = field(default_factory=Answers)
    shadow: Answers = field(default_factory=Answers)
    holdback: Answers = field(default_factory=Answers)
    outcome_champion: UnitSums | None = None
    outcome_challenger: UnitSums | None = None
    outcome_holdback: UnitSums | None = None


@dataclass(frozen=True, slots=True)
class EarlierCounts:
    """What had been counted under the step in force, or in the watch, at an earlier moment of it.

    A fault that begins late is found in what came after such a moment, which a long clean time before it
    would drown. The moments must not be chosen by what was counted: one a minute, say.

    Attributes:
        number: Which moment of the step, or of the watch, it was: 1 for the first, one more for each.
        champion, challenger, shadow, holdback: As they were then.
    """

    __pydantic_config__ = STRICT

    number: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    champion: Answers = field(default_factory=Answers)
    challenger: Answers = field(default_factory=Answers)
    shadow: Answers = field(default_factory=Answers)
    holdback: Answers = field(default_factory=Answers)


@dataclass(frozen=True, slots=True)
class SlotEvidence:
    """What was seen in one slot.

    Attributes:
        steps: One a step that has begun, in order: first the shadow where there was one, then the canary's.
        watch: Since the challenger became champion; None before.
        earlier: Some earlier moments of the watch or, before it, of the last of ``steps``, oldest first; such
            as those 1, 2, 4, 8 ... minutes ago.
        loaded: Whether every replica that was heard from can answer with the challenger.
        replicas: How many replicas were heard from; 0 where nothing serves.
        problem: What a replica says against the challenger; empty where none does.
    """

    __pydantic_config__ = STRICT

    steps: Annotated[tuple[StepEvidence, ...], Field(max_length=32)] = ()
    watch: StepEvidence | None = None
    earlier: Annotated[tuple[EarlierCounts, ...], Field(max_length=16)] = ()
    loaded: bool = False
    replicas: Count = 0
    problem: Annotated[str, Field(max_length=1_000, pattern=NO_CONTROL_CHARACTERS)] = ""


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """All that is known when a rollout is looked at.

    Attributes:
        schema: The format.
        at: When it was gathered.
        slots: By name; every slot of the rollout.
        missing: What could not be read, in words; empty where everything could. Nothing goes on without it.
        refused: Why a version must not serve any more (its verdict was revoked, say); empty where all may.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.rollout_evidence.v1"] = field(default=ROLLOUT_EVIDENCE_SCHEMA, kw_only=True)
    at: UtcTime
    slots: Annotated[Mapping[SlotName, SlotEvidence], Field(max_length=32)]
    missing: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    refused: Annotated[str, Field(max_length=1_000, pattern=NO_CONTROL_CHARACTERS)] = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RolloutEvidence:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        return read_document(cls, document)
