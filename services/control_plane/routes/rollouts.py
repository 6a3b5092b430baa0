"""Rollouts: list, look, start, steer, and follow live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from services.control_plane.asking import Asking, Because, Parts, ReasonText, by, needs
from services.control_plane.event_stream import CONTENT_TYPE, follow
from services.control_plane.parts import ControlPlaneParts
from streamrec.access.identity import Identity
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.json_documents import read_document
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import MAXIMUM_MOVES, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.gates.registered_versions import specification_of
from streamrec.governance.deployment import Actor, break_glass
from streamrec.rollout.book import MAXIMUM_PAGE
from streamrec.rollout.driving.transitions import RecordedTransition
from streamrec.rollout.requests import Ask
from streamrec.rollout.traffic_changes import champions

router: Final = APIRouter(tags=["rollouts"])

_STEERED: Final[Mapping[Ask, str]] = {
    Ask.PAUSE: "Stay where it is; harm still rolls it back.",
    Ask.RESUME: "Go on after a pause.",
    Ask.PROMOTE: "Skip what is left before the challenger becomes champion; it is watched all the same.",
    Ask.ABORT: "End it: what served before serves.",
    Ask.ROLLBACK: "Take back a challenger that has become champion, also long after.",
}

Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Of the rollout.")]
Slot = Annotated[str, Path(max_length=128, description="Such as `search.ranking`.")]
ModelText = Annotated[str, Field(max_length=200)]


class StartRollout(BaseModel):
    """What is to be rolled out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[ModelText] = Field(
        min_length=1, max_length=MAXIMUM_MOVES, description="`NAME@VERSION`, of different slots."
    )
    reason: ReasonText
    plan: dict[str, Any] | None = Field(
        default=None, description="By which plan; that of the specifications where it is left out."
    )
    slot: str | None = Field(default=None, max_length=128, description="For a version without a slot.")
    without_canary: bool = Field(
        default=False, description="Champion as soon as it is loaded: for the platform role."
    )
    break_glass: bool = Field(default=False, description="Also versions that are not eligible.")


@router.get("/v1/rollouts")
def list_rollouts(
    parts: Parts,
    asking: Asking,  # noqa: ARG001 - whoever asks is known
    after: Annotated[str | None, Query(max_length=64, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = 50,
) -> dict[str, Any]:
    """Rollouts, the one that moved last first."""
    found = parts.controller.book.list(after, limit)
    return {
        "items": [state.to_json() for state in found],
        "next": found[-1].rollout if len(found) == limit else None,
    }


@router.post("/v1/rollouts", status_code=201, **needs("rollouts start", "models promote"))
def start_rollout(parts: Parts, asking: Asking, body: StartRollout) -> dict[str, Any]:
    """Start a rollout of versions that may serve."""
    refs = [ModelRef.parse(model) for model in body.models]
    slots = [parts.registry.get(ref).slot or body.slot for ref in refs]
    # Whoever skips the canary, or breaks the glass, decides for the platform.
    command = "models promote" if body.without_canary or body.break_glass else "rollouts start"
    who = by(asking, command, body.reason, slots)
    if body.break_glass:
        for ref in refs:
            break_glass(parts.desk, Actor(asking, who.role, body.reason), ref)
    if body.without_canary:
        state = parts.controller.promote(refs, who, slot=body.slot, glass_broken=body.break_glass)
    else:
        plan = None if body.plan is None else read_document(RolloutPlan, body.plan, path="plan")
        state = parts.controller.start(refs, plan, who, slot=body.slot, glass_broken=body.break_glass)
    return parts.driven(state).to_json()


@router.get("/v1/rollouts/{name}")
def look_at_rollout(parts: Parts, asking: Asking, name: Name) -> dict[str, Any]:  # noqa: ARG001
    """Where a rollout stands, what is known, and what was found in it."""
    look = parts.controller.look(name)
    return {
        "state": look.state.to_json(),
        "evidence": look.evidence.to_json(),
        "analysis": None if look.analysis is None else look.analysis.to_json(),
    }


@router.get("/v1/rollouts/{name}/history")
def history_of_rollout(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    name: Name,
    after_seq: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0,
) -> dict[str, Any]:
    """Every transition with the evidence that it was decided by, oldest first."""
    history = parts.controller.book.history(name, after_seq=after_seq)
    return {"items": [transition_json(one) for one in history]}


@router.get(
    "/v1/rollouts/{name}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {CONTENT_TYPE: {}}}},
)
def events_of_rollout(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    name: Name,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> StreamingResponse:
    """Server-sent events: each transition, and what is known in between, until the rollout is over."""
    if last_event_id is not None and not (last_event_id.isascii() and last_event_id.isdigit()):
        raise InvalidInputError("Last-Event-ID", "must be the id of an event")
    parts.controller.book.get(name)
    return follow(parts, name, int(last_event_id or 0), transition_json)


def _steered(ask: Ask) -> Callable[..., dict[str, Any]]:
    """What a route does by which people steer a rollout."""
    command = f"rollouts {ask.value}"

    def steer(parts: Parts, asking: Asking, name: Name, body: Because) -> dict[str, Any]:
        state = parts.controller.book.get(name)
        who = by(asking, command, body.reason, state.slots)
        return parts.driven(parts.controller.request(name, ask, who)).to_json()

    return steer


for _ask, _does in _STEERED.items():
    router.post(
        f"/v1/rollouts/{{name}}/{_ask.value}",
        name=f"{_ask.value}_rollout",
        description=_does,
        **needs(f"rollouts {_ask.value}"),
    )(_steered(_ask))


@router.post("/v1/rollouts/{name}/retry", status_code=201, **needs("rollouts retry", "models promote"))
def retry_rollout(parts: Parts, asking: Asking, name: Name, body: Because) -> dict[str, Any]:
    """Start another rollout of the same versions by the same plan, after one that failed."""
    state = parts.controller.book.get(name)
    command = "models promote" if state.without_canary else "rollouts retry"
    who = by(asking, command, body.reason, state.slots)
    return parts.driven(parts.controller.retry(name, who)).to_json()


@router.post("/v1/slots/{slot}/rollback", **needs("rollouts rollback"))
def roll_back_slot(parts: Parts, asking: Asking, slot: Slot, body: Because) -> dict[str, Any]:
    """Take back what the last rollout did in a slot, and in all that it moved."""
    return parts.driven(_roll_back(parts, asking, slot, body)).to_json()


@router.get("/v1/slots/{slot}/needs")
def needs_of_slot(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    slot: Slot,
    model: Annotated[
        str | None, Query(max_length=200, description="Whose plan; the champion's where it is left out.")
    ] = None,
) -> dict[str, Any]:
    """What a version's plan takes of the slot's traffic, as the log knows it, and whether that can decide."""
    traffic = parts.traffic()
    serving = {} if traffic is None else champions(traffic)
    if model is None and slot not in serving:
        raise NotFoundError(f"nothing serves in {slot}: name the version whose plan is meant")
    ref = serving[slot] if model is None else ModelRef.parse(model)
    specification = specification_of(parts.registry.get(ref))
    return parts.controller.needs(slot, specification.rollout, specification.outcome_metric).to_json()


def _roll_back(parts: ControlPlaneParts, asking: Identity, slot: str, body: Because) -> RolloutState:
    # All that moved with the slot goes back too, also where it belongs to another team.
    moved = {slot, *parts.controller.last_of(slot).slots}
    who = by(asking, "rollouts rollback", body.reason, sorted(moved))
    return parts.controller.roll_back(slot, who)


def transition_json(one: RecordedTransition) -> Mapping[str, Any]:
    """A transition as it goes over the wire."""
    return {
        "seq": one.entry.seq,
        "at": one.entry.to_json()["at"],
        "actor": one.entry.actor,
        "role": one.entry.role.value,
        "kind": one.entry.kind.value,
        "reason": one.entry.reason,
        "state": one.state.to_json(),
        "evidence": None if one.evidence is None else one.evidence.to_json(),
        "analysis": one.analysis,
        "request": one.request,
    }
