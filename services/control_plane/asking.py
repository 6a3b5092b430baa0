"""Who asks, and in which role they may: what every route begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from services.control_plane.parts import ControlPlaneParts
from services.control_plane.problems import UnauthenticatedError
from streamrec.access.identity import Identity
from streamrec.access.permissions import COMMANDS, check_held, role_for
from streamrec.access.staff_file import acting
from streamrec.contracts.errors import PermissionDeniedError
from streamrec.contracts.json_documents import NO_CONTROL_CHARACTERS
from streamrec.governance.deployment import Actor
from streamrec.rollout.told_changes import By

COMMANDS_KEY: Final = "x-streamrec-commands"
ROLES_KEY: Final = "x-streamrec-roles"
_BEARER: Final = "bearer "

ReasonText = Annotated[str, Field(min_length=1, max_length=2_000, pattern=NO_CONTROL_CHARACTERS)]


class Because(BaseModel):
    """The body of a change: why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: ReasonText = Field(description="Why, in one line, for the ledger.")


def parts_of(request: Request) -> ControlPlaneParts:
    """What the application works on."""
    parts: ControlPlaneParts = request.app.state.parts
    return parts


def identity_of(request: Request) -> Identity:
    """Who asks: the holder of the bearer token; without an access file, the owner of the workspace.

    Raises:
        UnauthenticatedError: The token is missing or not known.
    """
    header = request.headers.get("authorization", "")
    token = header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else None
    try:
        return acting(parts_of(request).staff, token)
    except PermissionDeniedError as error:
        raise UnauthenticatedError(str(error)) from error


Parts = Annotated[ControlPlaneParts, Depends(parts_of)]
Asking = Annotated[Identity, Depends(identity_of)]


def needs(*commands: str) -> dict[str, Any]:
    """What a changing route is declared with: who has no role for it is refused before its body is looked at.

    Args:
        commands: Of `streamrec.access.permissions.COMMANDS`; which of them it is may depend on the body, and
            the route decides by `actor` or `by`, which know the slots as well.

    Returns:
        Arguments of the route; the OpenAPI document names commands and roles.
    """

    def check(asking: Asking) -> None:
        check_held(asking, *commands)

    roles = sorted({role.value for command in commands for role in COMMANDS[command]})
    return {
        "dependencies": [Depends(check)],
        "openapi_extra": {COMMANDS_KEY: list(commands), ROLES_KEY: roles},
    }


def actor(identity: Identity, command: str, reason: str, slots: Sequence[str | None] = (None,)) -> Actor:
    """Somebody in the role that allows a command in all of the slots that it is about.

    Raises:
        PermissionDeniedError: They may not, in one of them at least.
    """
    roles = [role_for(identity, command, slot) for slot in slots]
    return Actor(identity, roles[0], reason)


def by(identity: Identity, command: str, reason: str, slots: Sequence[str | None] = (None,)) -> By:
    """The same as whoever changes traffic is named."""
    found = actor(identity, command, reason, slots)
    return By(identity.actor, found.role, reason)
