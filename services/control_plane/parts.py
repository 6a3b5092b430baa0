"""What the control plane works on, put together from a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.control_plane.deployments import Deployments
from streamrec.access.staff_file import StaffFile
from streamrec.command_line import composition
from streamrec.command_line.decisions.acting import staff_file
from streamrec.command_line.decisions.deploying import Deployed, deploy_version, evaluation_data
from streamrec.command_line.decisions.desk import open_desk
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.metric_parts import metric_catalogue, metric_sources
from streamrec.command_line.rollout_parts import open_rollout_controller
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.models import ModelRef
from streamrec.contracts.progress import Progress
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.contracts.traffic import Traffic
from streamrec.gates.registered_versions import specification_of
from streamrec.governance.deployment import Actor
from streamrec.governance.desk import Desk
from streamrec.ledger.ledger import Ledger
from streamrec.metrics.catalogue import MetricCatalogue
from streamrec.metrics.computation import MetricSources
from streamrec.registry.model_registry import ModelRegistry
from streamrec.rollout.controller import RolloutController


@dataclass(frozen=True)
class ControlPlaneParts:
    """What routes hand over to.

    Attributes:
        workspace: Where everything lies; its name is shown.
        controller: Starts, drives and ends rollouts.
        desk: Where decisions about versions are made.
        registry: Which versions exist.
        ledger: Who decided what.
        staff: Whose token is whose.
        traffic: What serves now; None where nothing does.
        catalogue: Which metrics there are.
        metrics: What they are computed from.
        deployments: Gates that run.
        in_process: Whether the caller is the process itself, so that nobody drives rollouts beside it.
        clock: Now, UTC.
    """

    workspace: Workspace
    controller: RolloutController
    desk: Desk
    registry: ModelRegistry
    ledger: Ledger
    staff: StaffFile
    traffic: Callable[[], Traffic | None]
    catalogue: Callable[[], MetricCatalogue]
    metrics: Callable[[], MetricSources]
    deployments: Deployments
    in_process: bool = False
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def driven(self, state: RolloutState) -> RolloutState:
        """The state of a rollout that was changed, a step further where nobody but this process drives it."""
        if not self.in_process:
            return state
        self.controller.tick()
        self.controller.close()
        return self.controller.book.get(state.rollout)

    def close(self) -> None:
        """Let another one lead, and start no more gates."""
        self.deployments.close()
        self.controller.close()


def open_parts(workspace: Workspace, *, in_process: bool = False) -> ControlPlaneParts:
    """Open the parts of an embedded workspace.

    Args:
        workspace: Which.
        in_process: See `ControlPlaneParts`.
    """
    registry, ledger = composition.open_registry(workspace), open_ledger(workspace)
    files, desk = composition.traffic_files(workspace), open_desk(workspace, registry)
    controller = open_rollout_controller(
        workspace, registry=registry, ledger=ledger, reads_log_aside=not in_process
    )

    def judge(by: Actor, refs: Sequence[ModelRef], progress: Progress) -> Sequence[Deployed]:
        versions = [registry.get(ref) for ref in refs]
        specifications = [specification_of(version) for version in versions]
        with evaluation_data(workspace, None, specifications) as data:
            name = None if data is None else data.name
            return [
                deploy_version(
                    workspace,
                    desk,
                    by,
                    version,
                    progress,
                    data=data,
                    data_set=name,
                    in_service=not in_process,
                )
                for version in versions
            ]

    def traffic() -> Traffic | None:
        published = files.open_publisher(workspace.keys).published()
        return None if published is None else published.value

    return ControlPlaneParts(
        workspace=workspace,
        controller=controller,
        desk=desk,
        registry=registry,
        ledger=ledger,
        staff=staff_file(workspace),
        traffic=traffic,
        catalogue=lambda: metric_catalogue(workspace),
        metrics=lambda: metric_sources(workspace),
        deployments=Deployments(judge),
        in_process=in_process,
    )
