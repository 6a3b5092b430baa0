"""What is changed of plans and gates, as somebody writes it down: only what is named changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.contracts.specification.fairness_policy import FairnessMetric, Tolerance
from streamrec.contracts.specification.fields import Confidence, Hours, Share
from streamrec.contracts.specification.rollout_plan import AbsoluteLimits, OutcomeCriterion, RolloutPlan

CHANGED_POLICY_SCHEMA: Final = "streamrec.changed_policy.v1"

_Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Margin = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLimits:
    """Of `AbsoluteLimits`; None: as it was."""

    __pydantic_config__ = STRICT

    wrong_share: Share | None = None
    slow_share: Share | None = None
    degraded_share: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedOutcome:
    """Of `OutcomeCriterion`; None: as it was. A plan without an outcome gets none by it."""

    __pydantic_config__ = STRICT

    margin: _Margin | None = None
    confidence: Confidence | None = None
    power: Annotated[float, Field(ge=0.5, lt=1.0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPlan:
    """What is changed of every plan; None: as it was. Shares stay: of others nothing was ever seen.

    Attributes:
        minimum_samples, step_deadline_hours: Of every step.
        without_outcome: Whether the outcome criterion is dropped.
        outcome, limits: Parts of them.
        shadow_hours, minimum_step_minutes, deadline_hours, watch_hours, false_rollbacks: See `RolloutPlan`.
    """

    __pydantic_config__ = STRICT

    minimum_samples: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    step_deadline_hours: Hours | None = None
    shadow_hours: _Amount | None = None
    minimum_step_minutes: _Amount | None = None
    deadline_hours: Hours | None = None
    watch_hours: _Amount | None = None
    false_rollbacks: Annotated[float, Field(gt=0.0, le=0.1, allow_inf_nan=False)] | None = None
    without_outcome: bool = False
    outcome: ChangedOutcome = field(default_factory=ChangedOutcome)
    limits: ChangedLimits = field(default_factory=ChangedLimits)

    def applied_to(self, plan: RolloutPlan) -> RolloutPlan:
        """The plan with what is changed.

        Raises:
            InvalidInputError: It would be none: its deadlines could not be kept, say.
        """
        step_changes = _named(
            {"minimum_samples": self.minimum_samples, "deadline_hours": self.step_deadline_hours}
        )
        outcome: OutcomeCriterion | None = None
        if plan.outcome is not None and not self.without_outcome:
            outcome = replace(plan.outcome, **_changes(self.outcome))
        limits: AbsoluteLimits = replace(plan.limits, **_changes(self.limits))
        whole = _named({name: getattr(self, name) for name in _WHOLE})
        return replace(
            plan,
            steps=tuple(replace(step, **step_changes) for step in plan.steps),
            outcome=outcome,
            limits=limits,
            **whole,
        )


_WHOLE: Final = ("shadow_hours", "minimum_step_minutes", "deadline_hours", "watch_hours", "false_rollbacks")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedQuality:
    """Of the quality gate; None: as it was. Another confidence or metric is not decided by what is kept."""

    __pydantic_config__ = STRICT

    margin: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)] | None = None
    floor: Annotated[float, Field(allow_inf_nan=False)] | None = None
    minimum_units: Annotated[int, Field(ge=2, le=10_000_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLatency:
    """Of the latency gate; None: as it was."""

    __pydantic_config__ = STRICT

    p99_ms: Annotated[float, Field(gt=0.0, le=600_000.0, allow_inf_nan=False)] | None = None
    memory_mib: Annotated[int, Field(ge=1, le=1024 * 1024)] | None = None
    slower_than_champion: Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFairness:
    """Of the fairness gate: tolerances by metric. A metric that a judgement did not look at stays unknown."""

    __pydantic_config__ = STRICT

    metrics: Annotated[Mapping[FairnessMetric, Tolerance], Field(max_length=7)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedGates:
    """What is changed of gates."""

    __pydantic_config__ = STRICT

    quality: ChangedQuality = field(default_factory=ChangedQuality)
    latency: ChangedLatency = field(default_factory=ChangedLatency)
    fairness: ChangedFairness = field(default_factory=ChangedFairness)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPolicy:
    """All that is changed.

    Attributes:
        schema: The format.
        rollout: Of plans.
        gates: Of gates.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.changed_policy.v1"] = CHANGED_POLICY_SCHEMA
    rollout: ChangedPlan = field(default_factory=ChangedPlan)
    gates: ChangedGates = field(default_factory=ChangedGates)

    def __post_init__(self) -> None:
        if self.rollout == ChangedPlan() and self.gates == ChangedGates():
            raise InvalidInputError("", "changes nothing: name at least one limit under rollout or gates")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ChangedPolicy:
        """Read what was parsed from YAML or JSON; ``schema`` may be left out.

        Raises:
            InvalidInputError: A field is unknown or out of bounds, or nothing is changed; ``field`` is its
                dotted path.
        """
        return read_document(cls, document)


def _changes(part: ChangedLimits | ChangedOutcome) -> dict[str, Any]:
    return _named({one.name: getattr(part, one.name) for one in fields(part)})


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
