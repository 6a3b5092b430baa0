"""Fixtures: a service with two rankers and two gateways over Redis, for tests that break it."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.recommendations.contracts.stages import RANKING
from services.recommendations.serving.application import GATEWAY
from streamrec.features.materialization import materialize
from tests.failures.load import Answers, Load, load_on
from tests.failures.parts import CONTROLLER, processes, proxies, replicas, wait_until
from tests.failures.redis_server import LastingRedis
from tests.integration.serving.conftest import USER_COUNT, ServeProcess, Workspace

UNASKED = 4
_ALL_USERS = [f"user-{row:02d}" for row in range(USER_COUNT)]
USERS, UNASKED_USERS = _ALL_USERS[:-UNASKED], _ALL_USERS[-UNASKED:]
"""Known users: those that loads ask for, whose rows gateways keep, and those that no load asks for."""
REPLICAS_APART = {RANKING: 2, GATEWAY: 2}
REPLICAS_TOGETHER = {GATEWAY: 2}

PATIENCE_S = 60.0
DEGRADED_SHARE = 0.2
"""More is a bad second: on a busy machine some stage is late now and then."""


@dataclass(frozen=True)
class BreakableService:
    """A service and what it stands on.

    Attributes:
        running: The service.
        workspace: Its folder.
        redis: Its online store.
        counts: Replicas by deployment, of those that there are several of.
        rps: The load on it.
        warm_up_s: After which connections are open and users' rows are kept.
        calm_s: For how long it must answer in full before it counts as mended.
    """

    running: ServeProcess
    workspace: Workspace
    redis: LastingRedis
    counts: Mapping[str, int]
    rps: float = 30.0
    warm_up_s: float = 2.0
    calm_s: float = 3.0

    def replicas(self, deployment: str) -> set[int]:
        """Ids of the processes that are replicas of a deployment."""
        return replicas(self.running, deployment)

    def client(self) -> httpx.Client:
        """Asks it."""
        return httpx.Client(base_url=self.running.url, timeout=10.0)

    def is_whole(self) -> bool:
        """Whether every part runs that should."""
        return (
            all(len(self.replicas(deployment)) == count for deployment, count in self.counts.items())
            and len(processes(self.running, CONTROLLER)) == 1
            # Of one that was replaced, connections may be left for a while.
            and len(proxies(self.running)) >= 1
        )

    def load(self, **options: Any) -> AbstractContextManager[Load]:
        """Load on it."""
        return load_on(self.running.url, self.workspace.folder, USERS, **{"rps": self.rps, **options})

    def warm_up(self) -> None:
        """Let a load that has just begun open its connections."""
        time.sleep(self.warm_up_s)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingRedis]:
    server = LastingRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def start_breakable(
    trained: Workspace,
    redis_server: LastingRedis,
    serve: Callable[..., ServeProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., BreakableService]:
    """Starts services over Redis, with so many replicas of the deployments that are named."""

    def start(counts: Mapping[str, int], *arguments: str) -> BreakableService:
        folder: Path = tmp_path_factory.mktemp("breakable")
        for name in ("traffic", "keys"):
            shutil.copytree(trained.folder / name, folder / name)
        (folder / "registry").symlink_to(trained.folder / "registry")
        workspace = Workspace(folder, trained.dataset)
        materialize(replace(workspace.features, online=redis_server.url), workspace.dataset)
        replicas_of = [f"--replicas={deployment}={count}" for deployment, count in counts.items()]
        running = serve(workspace, "--online", redis_server.url, *replicas_of, *arguments)
        running.wait_for("/readyz", 200)
        return BreakableService(running, workspace, redis_server, counts)

    return start


@pytest.fixture(scope="module")
def breakable(start_breakable: Callable[..., BreakableService]) -> BreakableService:
    """With the stages apart: two rankers, two gateways."""
    return start_breakable(REPLICAS_APART)


@pytest.fixture(scope="module")
def breakable_together(start_breakable: Callable[..., BreakableService]) -> BreakableService:
    """With the stages in each of two gateways."""
    return start_breakable(REPLICAS_TOGETHER, "--together")


@pytest.fixture
def service(breakable: BreakableService) -> BreakableService:
    """The service, with all its parts, answering as it should."""
    return mended(breakable)


@pytest.fixture
def service_together(breakable_together: BreakableService) -> BreakableService:
    """The same, with the stages together."""
    return mended(breakable_together)


def mended(service: BreakableService) -> BreakableService:
    """The service, once every part runs and it has answered in full for a while."""
    wait_until(service.is_whole, PATIENCE_S, "every part of the service runs")
    with service.load() as load:
        settle(service, load, load.started_s)
    return service


def recovered_after_s(answers: Answers, since_s: float) -> float:
    """Seconds until the end of the last bad one: with an answer that is not OK, or a fifth degraded."""
    last_bad_s = 0.0
    for second in range(math.ceil(answers.all[-1].planned_s - since_s)):
        if _is_bad(answers.between(since_s + second, since_s + second + 1.0)):
            last_bad_s = second + 1.0
    return last_bad_s


def _is_bad(second: Answers) -> bool:
    return bool(second.not_ok) or (len(second) > 0 and second.degraded_share() > DEGRADED_SHARE)


def settle(service: BreakableService, load: Load, since_s: float) -> None:
    """Keep the load up until every part runs and the service has answered in full for a while."""

    def settled() -> bool:
        answers = load.so_far()
        if not answers.between(since_s).all or not service.is_whole():
            return False
        quiet_s = answers.all[-1].planned_s - since_s - recovered_after_s(answers, since_s)
        return quiet_s >= service.calm_s

    wait_until(settled, PATIENCE_S, "the service has all its parts and answers in full")


@pytest.fixture
def busy_core() -> Iterator[None]:
    """A process of somebody else's that takes a whole core."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()
