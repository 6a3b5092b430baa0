"""What an analysis found: one row a slot and criterion, and what follows from all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.intervals import FiniteNumber
from streamrec.contracts.json_documents import STRICT, UtcTime, document_json, read_document
from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.rollouts.tallies import Count
from streamrec.contracts.slots import SlotName

ANALYSIS_SCHEMA: Final = "streamrec.rollout_analysis.v1"

LARGEST_E_VALUE: Final = 1e12
"""An e-value is not told beyond this: it can pass what a number in a document can hold."""


class Criterion(StrEnum):
    """What is looked at."""

    WRONG = "wrong"
    """Requests that failed, were malformed or late."""
    SLOW = "slow"
    """Answers that took the model longer than the latency limit of its specification."""
    DEGRADED = "degraded"
    """Answers that were less than they should have been."""
    OUTCOME = "outcome"
    """The outcome metric: is it worse by more than chance?"""
    NON_INFERIORITY = "non_inferiority"
    """The outcome metric: is it shown to be not worse by more than the margin?"""


class ComparedWith(StrEnum):
    """What the challenger is held against."""

    CHAMPION = "champion"
    """What served before: the champion and, where the plan has one, the holdback."""
    LIMIT = "limit"
    """A limit of the plan, where nobody is there to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One criterion in one slot.

    Attributes:
        slot: Which.
        criterion: What was looked at.
        compared_with: Against what.
        verdict: ``failed``: harm, or not shown to be good enough; ``passed``: no harm so far, or shown;
            ``inconclusive``: nothing can be said yet.
        challenger, reference: The rates of both (or the limit, or values of the metric), over what decided;
            None where there is none yet.
        e_value: Evidence for harm, 1 where there is none, at most `LARGEST_E_VALUE`; None where a bound
            decides.
        threshold: What ``e_value`` must reach to be harm: 1 over the criterion's share of the error budget.
        bound: Lower confidence bound of the challenger's gain over the reference, as a share of the
            reference; None where an e-value decides.
        samples: Of the challenger: requests, or for an outcome what its metric is over.
        samples_needed: How many it takes to decide non-inferiority; None where that cannot be said, and of
            harm, which may show at any time (a phase's least samples are among the reasons).
    """

    __pydantic_config__ = STRICT

    slot: SlotName
    criterion: Criterion
    compared_with: ComparedWith
    verdict: Verdict
    challenger: FiniteNumber | None
    reference: FiniteNumber | None
    e_value: Annotated[float, Field(ge=0.0, le=LARGEST_E_VALUE)] | None = None
    threshold: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    bound: FiniteNumber | None = None
    samples: Count = 0
    samples_needed: Count | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All findings at one look.

    Attributes:
        schema: The format.
        at: When the evidence was gathered.
        verdict: ``passed``: the phase, or the step, may end well as far as the evidence goes; ``failed``:
            harm, or non-inferiority was decided and not shown; ``inconclusive``: go on, or wait; ``error``:
            the evidence cannot be true, and nothing follows from it.
        reasons: Why; never empty unless the verdict is ``passed``.
        findings: One a slot and criterion.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.rollout_analysis.v1"] = field(default=ANALYSIS_SCHEMA, kw_only=True)
    at: UtcTime
    verdict: Verdict
    reasons: Annotated[tuple[Reason, ...], Field(max_length=512)] = ()
    findings: Annotated[tuple[Finding, ...], Field(max_length=512)] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Analysis:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or out of bounds; ``field`` is its dotted path.
        """
        return read_document(cls, document)
