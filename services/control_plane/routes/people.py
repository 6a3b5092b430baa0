"""What people decide: reviews, overrides, remediation plans."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field

from services.control_plane.asking import Asking, Because, Parts, actor, needs
from services.control_plane.parts import ControlPlaneParts
from services.control_plane.routes.models import Model, eligibility_json, rolled_out
from streamrec.access.identity import Identity
from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.deployment import Actor
from streamrec.governance.overrides import KINDS as OVERRIDE_KINDS
from streamrec.governance.overrides import overrides_of
from streamrec.governance.people import (
    close_remediation,
    end_override,
    grant_override,
    review,
    waiting_reviews,
)
from streamrec.governance.records import read_records
from streamrec.governance.remediations import KINDS as REMEDIATION_KINDS
from streamrec.governance.remediations import Remediation, open_first, remediations_of

router: Final = APIRouter()

_MAXIMUM_PAGE: Final = 200
_LONGEST_OVERRIDE_DAYS: Final = 366.0

Limit = Annotated[int, Query(ge=1, le=_MAXIMUM_PAGE)]
After = Annotated[int, Query(ge=0, le=2**31, description="`next` of the page before.")]
Number = Annotated[int, Path(ge=1, le=2**53 - 1)]


class Override(Because):
    """For how long somebody answers for a version."""

    days: float = Field(gt=0.0, le=_LONGEST_OVERRIDE_DAYS, allow_inf_nan=False)


@router.get("/v1/reviews", tags=["reviews"])
def list_reviews(parts: Parts, asking: Asking, after: After = 0, limit: Limit = 50) -> dict[str, Any]:  # noqa: ARG001
    """Versions that wait for somebody to agree, the oldest first."""
    items = [
        eligibility_json(one.found)
        | {"asked_at": one.asked_at.isoformat(), "asked_by": one.asked_by, "reason": one.reason}
        for one in waiting_reviews(parts.desk)
    ]
    return _page(items, after, limit)


@router.post("/v1/reviews/{model}/approve", tags=["reviews"], **needs("reviews approve"))
def approve(parts: Parts, asking: Asking, model: Model, body: Because) -> dict[str, Any]:
    """Agree; where nobody else has to, the version's rollout starts in the name of whoever asked for it."""
    ref = ModelRef.parse(model)
    found = review(parts.desk, actor(asking, "reviews approve", body.reason), ref, approve=True)
    answer = eligibility_json(found) | {"rollout": None, "problem": ""}
    if found.eligible:
        try:
            answer["rollout"] = _started(parts, ref)
        except StreamRecError as error:
            # The approval stands, and says what has to be done by hand.
            answer["problem"] = f"no rollout was started: {error}"
    return answer


@router.post("/v1/reviews/{model}/reject", tags=["reviews"], **needs("reviews reject"))
def reject(parts: Parts, asking: Asking, model: Model, body: Because) -> dict[str, Any]:
    """Disagree: the version does not serve, and the reason says what has to change."""
    who = actor(asking, "reviews reject", body.reason)
    return eligibility_json(review(parts.desk, who, ModelRef.parse(model), approve=False))


@router.get("/v1/overrides", tags=["overrides"])
def list_overrides(parts: Parts, asking: Asking, after: After = 0, limit: Limit = 50) -> dict[str, Any]:  # noqa: ARG001
    """Overrides, the newest first, with those that have ended."""
    now = parts.clock()
    found = overrides_of(read_records(parts.ledger, kinds=OVERRIDE_KINDS))
    items = [
        {
            "number": one.number,
            "model": one.model,
            "gate": one.gate.value,
            "until": one.until.isoformat(),
            "by": one.by,
            "in_force": one.in_force(now),
            "words": one.words,
        }
        for one in reversed(found)
    ]
    return _page(items, after, limit)


@router.post("/v1/overrides/{model}", status_code=201, tags=["overrides"], **needs("overrides grant"))
def grant(parts: Parts, asking: Asking, model: Model, body: Override) -> dict[str, Any]:
    """Answer for the fairness gate of a version, for a time."""
    who = actor(asking, "overrides grant", body.reason)
    until = parts.clock() + timedelta(days=body.days)
    return eligibility_json(grant_override(parts.desk, who, ModelRef.parse(model), GateName.FAIRNESS, until))


@router.post("/v1/overrides/{number}/end", tags=["overrides"], **needs("overrides end"))
def end(parts: Parts, asking: Asking, number: Number, body: Because) -> dict[str, Any]:
    """End an override before its time."""
    return eligibility_json(end_override(parts.desk, actor(asking, "overrides end", body.reason), number))


@router.get("/v1/remediations", tags=["remediations"])
def list_remediations(parts: Parts, asking: Asking, after: After = 0, limit: Limit = 50) -> dict[str, Any]:  # noqa: ARG001
    """Remediation plans, overdue ones first."""
    now = parts.clock()
    plans = open_first(remediations_of(read_records(parts.ledger, kinds=REMEDIATION_KINDS)), now)
    return _page([_plan_json(plan) | {"overdue": plan.overdue(now)} for plan in plans], after, limit)


@router.post("/v1/remediations/{number}/close", tags=["remediations"], **needs("remediations close"))
def close(parts: Parts, asking: Asking, number: Number, body: Because) -> dict[str, Any]:
    """Close a plan, saying what came of it."""
    close_remediation(parts.desk, actor(asking, "remediations close", body.reason), number)
    plans = remediations_of(read_records(parts.ledger, kinds=REMEDIATION_KINDS))
    return _plan_json(next(plan for plan in plans if plan.number == number))


def _started(parts: ControlPlaneParts, ref: ModelRef) -> str:
    asked = next(
        parts.ledger.entries(
            kinds=(EntryKind.REVIEW_REQUESTED,), subject=str(ref), newest_first=True, limit=1
        )
    )
    who = Actor(Identity(asked.actor, frozenset({asked.role})), asked.role, asked.reason)
    return rolled_out(parts, [ref], who).rollout


def _plan_json(plan: Remediation) -> dict[str, Any]:
    return {
        "number": plan.number,
        "model": plan.model,
        "owner": plan.owner,
        "what": plan.what,
        "opened_at": plan.opened_at.isoformat(),
        "due": plan.due.isoformat(),
        "closed_at": None if plan.closed_at is None else plan.closed_at.isoformat(),
        "closed_by": plan.closed_by,
        "outcome": plan.outcome,
    }


def _page(items: list[dict[str, Any]], after: int, limit: int) -> dict[str, Any]:
    """A page of a list that is derived anew each time."""
    rest = items[after:]
    return {"items": rest[:limit], "next": after + limit if len(rest) > limit else None}
