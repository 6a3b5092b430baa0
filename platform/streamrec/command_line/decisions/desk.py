"""What several commands do with decisions about versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from streamrec.contracts.models import ModelRef
    from streamrec.governance.deployment import Actor
    from streamrec.governance.desk import Desk
    from streamrec.registry.model_registry import ModelRegistry
    from streamrec.rollout.traffic_writer import TrafficChanged


def open_desk(workspace: Workspace, registry: ModelRegistry | None = None) -> Desk:
    """Open where decisions about versions are made.

    Args:
        workspace: Whose.
        registry: The workspace's, where it is open already.
    """
    from streamrec.command_line import composition
    from streamrec.governance.desk import Desk

    return Desk(
        composition.open_ledger(workspace),
        composition.open_registry(workspace) if registry is None else registry,
        composition.traffic_files(workspace).versions,
        workspace.keys,
    )


def actor_for(workspace: Workspace, command: str, reason: str, slot: str | None = None) -> Actor:
    """Who runs a command, in the role that allows it.

    Args:
        workspace: Where.
        command: One of `streamrec.access.permissions.COMMANDS`.
        reason: Why, in their words.
        slot: What it is about, where it is about a slot.

    Raises:
        PermissionDeniedError: They may not, or nothing says who they are.
    """
    from streamrec.access.permissions import role_for
    from streamrec.command_line.decisions.acting import acting
    from streamrec.governance.deployment import Actor

    identity = acting(workspace)
    return Actor(identity, role_for(identity, command, slot), reason)


def promote_unjudged(
    workspace: Workspace,
    refs: Sequence[ModelRef],
    actor: str,
    reason: str,
    registry: ModelRegistry | None = None,
) -> TrafficChanged:
    """Promote versions in a workspace that was made for a demonstration or a measurement.

    The glass is broken for each that is not eligible, which is in the ledger and shows.

    Args:
        workspace: Whose; nobody else's traffic is in it.
        refs: Versions of different slots.
        actor: The program that made the workspace.
        reason: Why.
        registry: The workspace's, where it is open already.

    Raises:
        StreamRecError: See `break_glass` and `TrafficWriter.promote`.
    """
    from streamrec.access.identity import Identity
    from streamrec.command_line.composition import traffic_files
    from streamrec.contracts.ledger_entry import ActorRole
    from streamrec.governance.deployment import Actor, break_glass
    from streamrec.rollout.traffic_writer import TrafficWriter

    desk = open_desk(workspace, registry)
    by = Actor(Identity(actor, frozenset({ActorRole.PLATFORM})), ActorRole.PLATFORM, reason)
    for ref in refs:
        break_glass(desk, by, ref)
    writer = TrafficWriter(traffic_files(workspace), workspace.keys, desk.registry, desk.ledger)
    return writer.promote(refs, actor=actor, reason=reason, glass_broken=True)
