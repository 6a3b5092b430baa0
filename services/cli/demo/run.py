"""Runs the demo from data to report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from services.cli.demo.audience import VISITS_PER_NEW_USER, Audience, ReplayAudience, Visit, plan_visits
from services.cli.demo.client import RecommendationClient
from services.cli.demo.deployment import DeployedStage, deploy_stages, promote_stages
from services.cli.demo.loop import (
    RELEARNED,
    ClosedLoop,
    promote_under_traffic,
    relearn,
    show_new_item,
)
from services.cli.demo.offline_check import (
    CHECKED_USERS,
    RELEVANCE_ORDER_USERS,
    compare_with_offline,
    relevance_order_slates,
    warm_up,
)
from services.cli.demo.phases import PhaseClock
from services.cli.demo.report import write_report
from services.cli.demo.server import ServerProcess
from services.cli.demo.source import (
    PreparedData,
    SourceKind,
    generate_source,
    hold_out_last,
    import_source,
)
from services.cli.demo.summary import RunFacts, ServedTraffic, TrainedModel, build_summary
from services.cli.demo.traffic import drive
from services.cli.demo.world_audience import WorldAudience
from services.recommendations.commands.composition import load_champions, training_settings
from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.gateway.user_states import as_state
from services.recommendations.jobs.evaluation import evaluate_models
from services.recommendations.jobs.training import STAGES, TrainingJob
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.world.environment import WorldEnvironment
from services.recommendations.world.settings import WorldSettings
from streamrec.command_line.composition import (
    count_events,
    materialize_features,
    open_feature_store,
    open_registry,
    read_catalogue,
)
from streamrec.command_line.files import write_json
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.serving.retry_budget import RetryBudget
from streamrec.training.splits import UserHistories

SUMMARY_FILE: Final = "summary.json"
REPORT_FILE: Final = "report.html"
SERVER_LOG_FILE: Final = "server.log"

WARM_UP_REQUESTS: Final = 20
"""Unmeasured requests of known and new users before the check."""

_FIRST: Final = "the demo's first models"

_REPLAY_BEHAVIOUR: Final = (
    "Known users play their held-out item after the first answer, shown or not. The data knows nothing of "
    "new users: each has a topic, drawn by its share of the interactions, and clicks on the first item that "
    "has it. Figures about new users describe the machinery, not people."
)
_WORLD_BEHAVIOUR: Final = (
    "Users of the simulated world look, click and watch by tastes that the models never see; new users bring "
    "the segment that is observed at sign-up. One page a session; nobody leaves within the run."
)


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What to run.

    Attributes:
        source: A MovieLens or neutral folder; None simulates a world.
        users, items: Size of the simulated world.
        seed: Of the world, of training and of the traffic.
        requests: Measured requests.
        new_user_share: Share of them from new users.
        k: Length of a slate.
        clients: Concurrent clients.
        command: How to run this again, for the report.
    """

    source: Path | None
    users: int
    items: int
    seed: int
    requests: int
    new_user_share: float
    k: int
    clients: int
    command: str


@dataclass(frozen=True)
class _Stage:
    """What serving starts from, and who will ask.

    Attributes:
        history: The interactions that serving may know; None for all.
        held_out: Test item by user id, where interactions are replayed.
    """

    history: UserHistories | None
    held_out: Mapping[str, str]
    audience: Audience
    behaviour: str
    plan: Sequence[Visit]


def run_demo(
    settings: DemoSettings, workspace: Workspace, console: Console, progress: Progress
) -> dict[str, Any]:
    """Run everything in ``workspace``, whose features and events are made anew; return the summary.

    Writes `SUMMARY_FILE`, `REPORT_FILE` and `SERVER_LOG_FILE` into the workspace's root. Trained models are
    found again by the fingerprint of data and settings. Whatever happens, the server is stopped.

    Raises:
        StreamRecError: A phase could not be done; the message says what to do.
    """
    clock = PhaseClock(console)
    with clock.phase("Data", str(settings.source or "a simulated world")):
        data = _prepare(settings, workspace, progress)
    with clock.phase("Features", "apply, materialise, load the online store"):
        stage = _set_stage(settings, data)
        if workspace.events.exists():
            shutil.rmtree(workspace.events)
        materialize_features(workspace, data.dataset, stage.history, progress)
    with clock.phase("Train", "two-tower, ranker, cold start, re-ranker; register each"):
        models = _train(settings, workspace, data.dataset, progress)
    with clock.phase(
        "Gates", "each version is judged as any team's is: artifact, skew, quality, fairness ..."
    ):
        deployed = _deploy(workspace, data.dataset, stage, models, console, progress)
    with clock.phase("Promote", "the judged versions become champions, in one revision"):
        promote_stages(workspace, [model.version for model in models], _FIRST)
    with clock.phase("Evaluate", "leave-last-out against the baselines"):
        evaluation = evaluate_models(
            data.dataset,
            open_registry(workspace),
            workspace.training,
            models=None,
            seed=settings.seed,
            progress=progress,
            settings=training_settings(workspace, quick=True),
        ).to_json()
    served = _serve(settings, workspace, stage, data.dataset.folder, models, console, clock, progress)
    with clock.phase("Report", "summary, plots, page"):
        run = RunFacts(
            command=settings.command,
            seed=settings.seed,
            k=settings.k,
            finished_at=datetime.now(UTC),
            phases=clock.finished,
            total_s=clock.total_s,
        )
        summary = build_summary(run, data, models, evaluation, served, deployed)
        write_json(workspace.root / SUMMARY_FILE, summary)
        write_report(summary, workspace.root / REPORT_FILE)
    return summary


def _prepare(settings: DemoSettings, workspace: Workspace, progress: Progress) -> PreparedData:
    if settings.source is not None:
        return import_source(settings.source, workspace.data / "imported", progress)
    return generate_source(_world(settings), workspace.data / "world", progress)


def _world(settings: DemoSettings) -> WorldSettings:
    return WorldSettings(users=settings.users, items=settings.items, seed=settings.seed)


def _set_stage(settings: DemoSettings, data: PreparedData) -> _Stage:
    rng = np.random.default_rng(settings.seed)
    audience: Audience
    if data.kind is SourceKind.WORLD:
        history, held_out, behaviour = None, dict[str, str](), _WORLD_BEHAVIOUR
        new_users = -(-settings.requests // VISITS_PER_NEW_USER)
        environment = WorldEnvironment(_world(settings), new_users=new_users)
        audience = WorldAudience(environment, known_users=settings.users, new_users=new_users)
    else:
        history, held_out = hold_out_last(data.dataset)
        behaviour = _REPLAY_BEHAVIOUR
        catalogue = data.dataset.catalogue
        audience = ReplayAudience(
            catalogue,
            np.bincount(history.items, minlength=len(catalogue)),
            held_out,
            known_users=history.user_ids,
            run="demo",
        )
    plan = plan_visits(audience, requests=settings.requests, new_user_share=settings.new_user_share, rng=rng)
    return _Stage(history, held_out, audience, behaviour, plan)


def _train(
    settings: DemoSettings, workspace: Workspace, dataset: Dataset, progress: Progress
) -> list[TrainedModel]:
    registry = open_registry(workspace)
    quick = training_settings(workspace, quick=True)
    job = TrainingJob(dataset, registry, workspace.training, settings.seed, progress, quick)
    begun = datetime.now(UTC)
    models = []
    for stage in STAGES:
        started = time.monotonic()
        version = job.version(stage)
        models.append(TrainedModel(stage, version, version.created_at < begun, time.monotonic() - started))
    return models


def _deploy(
    workspace: Workspace,
    dataset: Dataset,
    stage: _Stage,
    models: Sequence[TrainedModel],
    console: Console,
    progress: Progress,
) -> list[DeployedStage]:
    """Run the gates on a platform that knows all of the data, which only a replay hides from serving."""
    versions = [model.version for model in models]
    if stage.history is None:
        return deploy_stages(workspace, versions, dataset.folder, _FIRST, console, progress)
    materialize_features(workspace, dataset, None, progress)
    try:
        return deploy_stages(workspace, versions, dataset.folder, _FIRST, console, progress)
    finally:
        materialize_features(workspace, dataset, stage.history, progress)


def _close_the_loop(
    settings: DemoSettings,
    workspace: Workspace,
    base_url: str,
    imported: Path,
    trained: Sequence[TrainedModel],
    users: Sequence[UserState],
    console: Console,
    progress: Progress,
) -> ClosedLoop:
    catalogue = read_catalogue(workspace)
    histories = [(user.user_id, user.history) for user in users]
    new_item = show_new_item(base_url, workspace, catalogue, histories)
    relearned = relearn(workspace, imported, trained, settings.seed, progress)
    deployed = deploy_stages(workspace, relearned.versions, imported, RELEARNED, console, progress)
    promotion = promote_under_traffic(
        base_url, workspace, relearned.versions, [user_id for user_id, _ in histories]
    )
    return ClosedLoop(new_item, relearned, promotion, tuple(deployed))


def _serve(
    settings: DemoSettings,
    workspace: Workspace,
    stage: _Stage,
    imported: Path,
    trained: Sequence[TrainedModel],
    console: Console,
    clock: PhaseClock,
    progress: Progress,
) -> ServedTraffic:
    with ExitStack() as running:
        with clock.phase("Serve", "start the service and wait until it is ready"):
            server = ServerProcess.streamrec(workspace.root, workspace.root / SERVER_LOG_FILE)
            running.enter_context(server)
        with clock.phase("Check", "served answers against the offline pipeline"):
            models = load_champions(workspace)
            users = _known_states(workspace, stage.plan, max(CHECKED_USERS, RELEVANCE_ORDER_USERS))
            items = open_feature_store(workspace).item_table()
            with RecommendationClient(server.base_url, RetryBudget()) as client:
                warm_up(client, stage.plan[:WARM_UP_REQUESTS], k=settings.k)
                agreement = compare_with_offline(
                    client,
                    OfflinePipeline(models, items),
                    users[:CHECKED_USERS],
                    progress,
                    k=settings.k,
                )
            ordered = users[:RELEVANCE_ORDER_USERS]
            slates = relevance_order_slates(models, items, ordered, progress, k=settings.k)
        with clock.phase("Traffic", f"{settings.requests:,} requests, events fed back"):
            traffic = drive(
                server.base_url,
                stage.audience,
                stage.plan,
                progress,
                k=settings.k,
                clients=settings.clients,
            )
        with clock.phase(
            "Loop", "a new item, models that learn from the traffic, their gates, a promotion under way"
        ):
            loop = _close_the_loop(
                settings, workspace, server.base_url, imported, trained, users, console, progress
            )
        with clock.phase("Stop", "stop the service"):
            server.stop()
    return ServedTraffic(
        agreement=agreement,
        traffic=traffic,
        warm_up_requests=len(stage.plan[:WARM_UP_REQUESTS]),
        behaviour=stage.behaviour,
        held_out=stage.held_out,
        histories={user.user_id: user.history for user in users},
        relevance_order={user.user_id: slate for user, slate in zip(ordered, slates, strict=True)},
        log=count_events(workspace),
        loop=loop,
    )


def _known_states(workspace: Workspace, plan: Sequence[Visit], limit: int) -> list[UserState]:
    """What the feature store knows of the first known users of the plan, before any event."""
    store = open_feature_store(workspace)
    user_ids = dict.fromkeys(visit.user_id for visit in plan if visit.known_user)
    return [as_state(user_id, store.user_features(user_id), Segment()) for user_id in list(user_ids)[:limit]]
