"""Tiny models that are really trained, features that are really materialised, and a service over both."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from services.recommendations.jobs.training import STAGES, TrainingSettings, train_stages
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.features.materialization import materialize
from streamrec.features.settings import FeatureSettings
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from streamrec.rollout.traffic_files import TrafficFiles
from tests.promoted import promote, traffic_files

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("serve_process.py")

USER_COUNT, ITEM_COUNT, HISTORY = 60, 150, 14


def write_data(folder: Path) -> None:
    """Users of three languages who mostly stay within theirs."""
    rng = np.random.default_rng(20240501)
    folder.mkdir()
    languages = np.array(["en", "de", "fi"])
    items = pd.DataFrame(
        {
            "item_id": [f"item-{row:03d}" for row in range(ITEM_COUNT)],
            "title": [f"Title {row}" for row in range(ITEM_COUNT)],
            "creator_id": [f"creator-{row % 20:02d}" for row in range(ITEM_COUNT)],
            "creator_language": languages[np.arange(ITEM_COUNT) % 3],
            "topics": [[f"topic-{row % 7}"] for row in range(ITEM_COUNT)],
            "published_at": pd.Timestamp("2023-01-01", tz="UTC"),
        }
    )
    users = pd.DataFrame(
        {
            "user_id": [f"user-{row:02d}" for row in range(USER_COUNT)],
            # Countries cross languages: were the two the same, nobody could say which of them matters.
            "country": languages[np.arange(USER_COUNT) // 3 % 3],
            "language": languages[np.arange(USER_COUNT) % 3],
            "age_band": np.where(np.arange(USER_COUNT) % 2, "18-24", "25-34"),
            "signup_channel": "organic",
            "signed_up_at": pd.Timestamp("2023-06-01", tz="UTC"),
        }
    )
    rows = []
    for user in range(USER_COUNT):
        own = np.arange(user % 3, ITEM_COUNT, 3)
        weights = 1.0 / (1.0 + np.arange(len(own)))
        for step, item in enumerate(rng.choice(own, HISTORY, replace=False, p=weights / weights.sum())):
            moment = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(hours=user + 24 * step)
            rows.append((f"user-{user:02d}", f"item-{item:03d}", moment))
    items.to_parquet(folder / "items.parquet")
    users.to_parquet(folder / "users.parquet")
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_parquet(
        folder / "interactions.parquet"
    )


def tiny(settings: TrainingSettings) -> TrainingSettings:
    """Settings under which everything trains in seconds."""
    optimisation = settings.ranking_teacher.optimisation
    brief = replace(optimisation.pools, maximum_epochs=1)
    return replace(
        settings,
        retrieval=replace(
            settings.retrieval, dimension=16, epoch_count=1, uniform_negative_count=64, hard_negative_count=0
        ),
        ranking_teacher=replace(
            settings.ranking_teacher,
            network=replace(settings.ranking_teacher.network, dimension=16, layer_count=1),
            optimisation=replace(optimisation, pools=brief, joint=brief),
        ),
        cold_start=replace(settings.cold_start, hierarchy_dimensions=1, target_accept=0.95),
    )


@dataclass(frozen=True)
class Workspace:
    """A folder with all that a service needs."""

    folder: Path
    dataset: Dataset

    @property
    def registry(self) -> RegistrySettings:
        return RegistrySettings.embedded(self.folder / "registry")

    @property
    def traffic(self) -> TrafficFiles:
        return traffic_files(self.folder)

    @property
    def features(self) -> FeatureSettings:
        return FeatureSettings(self.folder / "features", REPOSITORY / "feature_repo")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Workspace:
    """Read only: copy it before serving from it."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder / "data")
    workspace = Workspace(folder, load_dataset(folder / "data"))
    registry = MlflowModelRegistry(workspace.registry)
    versions = train_stages(
        STAGES,
        workspace.dataset,
        registry,
        folder / "training",
        seed=7,
        progress=SilentProgress(),
        settings=tiny(TrainingSettings()),
    )
    promote(folder, registry, *(version.ref for version in versions.values() if version.slot is not None))
    materialize(workspace.features, workspace.dataset)
    return workspace


@pytest.fixture(scope="module")
def workspace(trained, tmp_path_factory) -> Workspace:
    """The trained models over features and events of its own; the registry is shared, and stays as it is."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("features", "traffic", "keys"):
        shutil.copytree(trained.folder / name, folder / name)
    (folder / "registry").symlink_to(trained.folder / "registry")
    return Workspace(folder, trained.dataset)


class ServeProcess:
    """A service in a process and session of its own.

    ``orphaned``: as a child of the system's first process, as under systemd; `process` is then a shell that
    has ended, and no status can be had.
    """

    def __init__(self, workspace: Workspace, *arguments: str, orphaned: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = workspace.folder / "serve.log"
        environment = dict(
            os.environ, PYTHONPATH=os.pathsep.join([str(REPOSITORY / "platform"), str(REPOSITORY)])
        )
        command = [sys.executable, str(PROGRAM), str(workspace.folder), str(self.port), *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", '"$@" &', "sh", *command] if orphaned else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=workspace.folder,
                env=environment,
            )

    def get(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(self.url + path, timeout=10.0)
        except httpx.TransportError:
            return None

    def wait_for(self, path: str, status: int, patience_s: float = 120.0) -> httpx.Response:
        deadline_s = time.monotonic() + patience_s
        response = None
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None or self.session(), (
                f"the service ended: {self.log.read_text()[-3000:]}"
            )
            response = self.get(path)
            if response is not None and response.status_code == status:
                return response
            time.sleep(0.1)
        raise AssertionError(f"{path}: {response and response.text}; {self.log.read_text()[-3000:]}")

    def session(self) -> list[tuple[int, str]]:
        """Every process that the service started, by id and command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    status = (entry / "stat").read_text().rpartition(")")[2].split()
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue  # ended while we looked
                if int(status[3]) == self.process.pid and status[0] != "Z":
                    found.append((int(entry.name), command))
        return found

    def is_gone_within(self, patience_s: float) -> bool:
        """Whether nothing that the service started is left, and its port is free, after at most this long."""
        deadline_s = time.monotonic() + patience_s
        while self.process.poll() is None or self.session():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.05)
        with socket.socket() as probe:
            # As a server does: connections that are closed and forgotten are no obstacle, a listener is one.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", self.port))
        return True

    def kill_everything(self) -> None:
        for pid, _ in self.session():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10.0)


@pytest.fixture(scope="module")
def serve():
    """Starts services and leaves none behind."""
    started = []

    def start(workspace: Workspace, *arguments: str, orphaned: bool = False) -> ServeProcess:
        started.append(ServeProcess(workspace, *arguments, orphaned=orphaned))
        return started[-1]

    yield start
    for process in started:
        process.kill_everything()


@pytest.fixture(scope="module")
def service(request, workspace, serve) -> ServeProcess:
    """One service for all tests of a module, which may name `SERVICE_ARGUMENTS`."""
    running = serve(workspace, *getattr(request.module, "SERVICE_ARGUMENTS", ()))
    running.wait_for("/readyz", 200)
    return running


@pytest.fixture
def client(service):
    """Asks the service."""
    with httpx.Client(base_url=service.url, timeout=10.0) as client:
        yield client
