"""The controller of a workspace's rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamrec.command_line.composition import open_registry, traffic_files
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.metric_parts import metric_catalogue, metric_sources
from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from streamrec.ledger.ledger import Ledger
    from streamrec.registry.model_registry import ModelRegistry
    from streamrec.rollout.controller import RolloutController


def open_rollout_controller(
    workspace: Workspace,
    *,
    registry: ModelRegistry | None = None,
    ledger: Ledger | None = None,
    reads_log_aside: bool = True,
) -> RolloutController:
    """Open what starts, drives and ends the rollouts of a workspace. It drives nothing before it is asked to.

    Args:
        workspace: Whose.
        registry, ledger: The workspace's, where they are open already.
        reads_log_aside: Read the event log in a thread, so that no look waits for it: for a process that
            drives. False for a command that looks once and ends.

    Raises:
        InvalidInputError: A file of metrics is wrong.
        NotReadyError, TemporaryError, ArtifactError: See `open_ledger`.
    """
    from concurrent.futures import ThreadPoolExecutor

    from streamrec.rollout.controller import RolloutController
    from streamrec.rollout.outcomes import EventOutcomes

    executor = ThreadPoolExecutor(1, thread_name_prefix="rollout-outcomes") if reads_log_aside else None
    outcomes = EventOutcomes(metric_catalogue(workspace), metric_sources(workspace), executor)
    return RolloutController(
        traffic_files(workspace),
        workspace.keys,
        open_registry(workspace) if registry is None else registry,
        open_ledger(workspace) if ledger is None else ledger,
        outcomes,
    )
