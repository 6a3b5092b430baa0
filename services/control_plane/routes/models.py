"""Registered versions: which there are, where each stands, and asking for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.control_plane.asking import Asking, Because, Parts, ReasonText, actor, needs
from services.control_plane.deployments import Deployment
from services.control_plane.parts import ControlPlaneParts
from services.control_plane.routes.rollouts import ModelText
from streamrec.command_line.decisions.deploying import Deployed
from streamrec.contracts.json_documents import read_document
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import MAXIMUM_MOVES, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.governance.deployment import Actor, revoke
from streamrec.governance.eligibility import Eligibility
from streamrec.registry.model_registry import ModelVersion
from streamrec.rollout.told_changes import By

router: Final = APIRouter(tags=["models"])

_MAXIMUM_VERSIONS: Final = 200
Model = Annotated[str, Path(max_length=200, description="`NAME@VERSION`.")]


class Deploy(BaseModel):
    """Versions that somebody wants to serve."""

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[ModelText] = Field(min_length=1, max_length=MAXIMUM_MOVES, description="`NAME@VERSION`.")
    reason: ReasonText
    rollout: bool = Field(default=True, description="Start their rollout once all of them may serve.")
    plan: dict[str, Any] | None = Field(
        default=None, description="By which plan; that of the specifications where it is left out."
    )


def eligibility_json(found: Eligibility) -> dict[str, Any]:
    """Where a version stands."""
    return {
        "model": str(found.ref),
        "standing": found.standing.value,
        "why": list(found.why),
        "next": found.way_back,
        "marks": list(found.marks),
        "approved_by": list(found.approved_by),
    }


@router.get("/v1/models/{name}/versions")
def list_versions(
    parts: Parts,
    asking: Asking,  # noqa: ARG001 - whoever asks is known
    name: Annotated[str, Path(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=63)],
    before: Annotated[int | None, Query(ge=1, le=2**31, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MAXIMUM_VERSIONS)] = 50,
) -> dict[str, Any]:
    """Versions of a model, the newest first, each with where it stands."""
    every = [one for one in parts.registry.versions(name) if before is None or one.ref.version < before]
    shown = every[:limit]
    return {
        "items": [_with_eligibility(parts, one) for one in shown],
        "next": shown[-1].ref.version if len(every) > limit else None,
    }


@router.get("/v1/models/{name}/versions/{version}")
def show_version(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    name: Annotated[str, Path(max_length=63)],
    version: Annotated[int, Path(ge=1, le=2**31)],
) -> dict[str, Any]:
    """One version: what it is, where it stands, and why."""
    return _with_eligibility(parts, parts.registry.get(ModelRef.parse(f"{name}@{version}")))


@router.post("/v1/models/{model}/revoke", **needs("models revoke"))
def revoke_verdict(parts: Parts, asking: Asking, model: Model, body: Because) -> dict[str, Any]:
    """Withdraw the verdict of a version: no replica loads it any more."""
    ref = ModelRef.parse(model)
    slot = parts.registry.get(ref).slot
    return eligibility_json(revoke(parts.desk, actor(asking, "models revoke", body.reason, [slot]), ref))


@router.post("/v1/deployments", status_code=202, **needs("models deploy"))
def deploy(parts: Parts, asking: Asking, body: Deploy, response: Response) -> dict[str, Any]:
    """Ask for versions to serve: gates judge them, and where all may serve, their rollout starts."""
    refs = [ModelRef.parse(model) for model in body.models]
    slots = [parts.registry.get(ref).slot for ref in refs]
    who = actor(asking, "models deploy", body.reason, slots)
    plan = None if body.plan is None else read_document(RolloutPlan, body.plan, path="plan")

    def then(found: Sequence[Deployed]) -> RolloutState | None:
        if not body.rollout or not all(one.found.eligible for one in found):
            return None
        return rolled_out(parts, refs, who, plan)

    deployment = parts.deployments.submit(who, refs, then)
    response.headers["location"] = f"/v1/deployments/{deployment.number}"
    return deployment.to_json()


@router.get("/v1/deployments/{number}")
def show_deployment(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    number: Annotated[int, Path(ge=1, le=2**31)],
) -> dict[str, Any]:
    """How a deployment goes: its lines, and what its gates found."""
    found: Deployment = parts.deployments.get(number)
    return found.to_json()


def rolled_out(
    parts: ControlPlaneParts, refs: list[ModelRef], who: Actor, plan: RolloutPlan | None = None
) -> RolloutState:
    """Start the rollout of versions that may serve now, in the name of whoever asked for them."""
    by = By(who.identity.actor, who.role, who.reason)
    return parts.driven(parts.controller.start(refs, plan, by))


def _with_eligibility(parts: ControlPlaneParts, version: ModelVersion) -> dict[str, Any]:
    return _version_json(version) | {"eligibility": eligibility_json(parts.desk.eligibility(version.ref))}


def _version_json(version: ModelVersion) -> dict[str, Any]:
    return {
        "model": str(version.ref),
        "slot": version.slot,
        "artifact_digest": version.artifact_digest,
        "depends_on": {role: str(ref) for role, ref in version.depends_on.items()},
    }
