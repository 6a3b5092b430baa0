"""Case 7 of what the platform must survive: the registry of models is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from streamrec.contracts.errors import DependencyError, TemporaryError
from streamrec.contracts.models import ModelRef
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from tests.failures.load import Answers, Load
from tests.promoted import promote, traffic_files

SAID_WITHIN_S: Final = 10.0
START_S: Final = 120.0
WARM_UP_S: Final = 0.5


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cut_off(folder: Path) -> MlflowModelRegistry:
    """A registry whose server is not there."""
    return MlflowModelRegistry(RegistrySettings(f"http://127.0.0.1:{free_port()}", None, folder / "cut_off"))


class MlflowServer:
    """A real server in a session of its own, over a SQLite file and a folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._log = (folder / "mlflow.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"),
                *("--artifacts-destination", str(folder / "mlflow-artifacts")),
            ],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, registry: MlflowModelRegistry) -> None:
        """Return when it answers."""
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                registry.names()
            except DependencyError:
                assert time.monotonic() < deadline_s, "the MLflow server does not answer"
                time.sleep(0.3)
            else:
                return

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it, if it has not been ended."""
        if self._process.poll() is None:
            self.send(signal.SIGKILL)
            self._process.wait()
        self._log.close()


def promotion_holds(
    load_on_it: Callable[[], AbstractContextManager[Load]],
    folder: Path,
    registry: MlflowModelRegistry,
    ref: ModelRef,
    serving_s: float,
) -> Answers:
    """Serve for a while, then promote: serving is untouched, and the promotion says what is wrong in time."""
    before = revision(folder)
    with load_on_it() as load:
        time.sleep(WARM_UP_S)
        began_s = time.monotonic()
        time.sleep(serving_s)
        promoted_s = time.monotonic()
        with pytest.raises(TemporaryError) as refused:
            promote(folder, registry, ref)
        said_s = time.monotonic() - promoted_s
        answers = load.finish().between(began_s)
    print(f"\n  {answers.said()}\n  after {said_s:.1f} s: {refused.value}")
    assert said_s <= SAID_WITHIN_S
    assert revision(folder) == before
    assert answers.failed == []
    return answers


def revision(folder: Path) -> int:
    """Of the traffic document in force."""
    follower = traffic_files(folder).open_follower()
    follower.refresh()
    assert follower.current is not None
    return follower.current.value.revision
