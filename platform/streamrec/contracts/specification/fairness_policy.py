"""Which differences between groups of people a model may show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT
from streamrec.contracts.specification.fields import Confidence, ShortText

LARGEST: Final = "largest"
"""The reference is the group with the most units."""

MINIMUM_GROUP_SIZE: Final = 100

GroupAttribute = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f=&,]+$", min_length=1, max_length=64)]
"""As data names it: ``age_band``, ``Sex``. Not with what joins names of groups: ``=``, ``&`` and ``,``."""

Tolerance = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]


class FairnessMetric(StrEnum):
    """What is compared between a group and the reference."""

    SELECTION_RATE = "selection_rate"
    TPR = "tpr"
    FPR = "fpr"
    FNR = "fnr"
    CALIBRATION = "calibration"
    EXPOSURE = "exposure"
    NDCG = "ndcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessPolicy:
    """Every required difference must lie inside its tolerance, with its whole confidence interval.

    Attributes:
        attributes: Of the units or of what is shown; each needs its column ``group.ATTRIBUTE``.
        reference: `LARGEST`, or a group that the others are compared with: its name, or ``ATTRIBUTE=NAME``.
            Of an attribute without such a group it is the largest.
        metrics: Largest tolerated difference to the reference, by metric; empty: the task's own.
        minimum_group_size: A smaller group is inconclusive.
        confidence: Family-wise, over all groups and metrics.
        intersections: Attributes whose combinations are groups too.
        threshold: A score from here on is a yes. None: 0.5 where scores are chances.
        groups: Groups that must be in the data, by attribute: one that is not is inconclusive.
    """

    __pydantic_config__ = STRICT

    attributes: Annotated[tuple[GroupAttribute, ...], Field(min_length=1, max_length=16)]
    reference: Annotated[ShortText, Field(min_length=1)] = LARGEST
    metrics: Annotated[Mapping[FairnessMetric, Tolerance], Field(max_length=7)] = field(default_factory=dict)
    minimum_group_size: Annotated[int, Field(ge=2, le=10_000_000)] = MINIMUM_GROUP_SIZE
    confidence: Confidence = 0.95
    intersections: Annotated[
        tuple[Annotated[tuple[GroupAttribute, ...], Field(min_length=2, max_length=4)], ...],
        Field(max_length=16),
    ] = ()
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    groups: Annotated[
        Mapping[GroupAttribute, Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=1_000)]],
        Field(max_length=16),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.attributes)) < len(self.attributes):
            raise InvalidInputError("attributes", "must name each attribute once")
        for number, combined in enumerate(self.intersections):
            unknown = next((name for name in combined if name not in self.attributes), None)
            if unknown is not None:
                known = ", ".join(self.attributes)
                raise InvalidInputError(
                    f"intersections.{number}", f"names {unknown!r}; attributes of this policy are {known}"
                )
            if len(set(combined)) < len(combined):
                raise InvalidInputError(f"intersections.{number}", "must name each attribute once")
        for name in self.groups:
            if name not in self.attributes:
                raise InvalidInputError(f"groups.{name}", "is no attribute of this policy")
