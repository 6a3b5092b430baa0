"""One system under load: started in a process of its own, asked by a generator in another, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from services.recommendations.load_tests.processes import DRIVER, GATEWAY, ProcessTimes, memory_mib
from services.recommendations.load_tests.recording import Recording
from services.recommendations.load_tests.redis_server import free_port, running_redis
from services.recommendations.load_tests.results import Measured
from services.recommendations.load_tests.schedule import LoadSettings
from services.recommendations.load_tests.systems import READY_TIMEOUT_S, System
from services.recommendations.load_tests.workspace import MadeWorkspace, run_copy
from streamrec.command_line.composition import ONLINE_STORE_VARIABLE
from streamrec.contracts.errors import DependencyError

_STOP_TIMEOUT_S: Final = 40.0
_POLL_S: Final = 0.1
_GENERATOR_START_S: Final = 1.5
"""Python and NumPy are there by then, and the requests are made."""
_GENERATOR_END_S: Final = 60.0
"""For what it saw to be written, on a machine that has no time for it."""
_LOG_TAIL_CHARACTERS: Final = 2_000
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""As the service sets it for its replicas: what is beside Ray gets the same."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""What is asked is on this machine: a proxy of the environment has no part in it."""


@dataclass(frozen=True)
class RunningSystem:
    """A system that is ready.

    Attributes:
        system: Which.
        port: Of the loopback.
        pid: Its process; all others are below it.
        ready_s: Time from its start to its readiness.
    """

    system: System
    port: int
    pid: int
    ready_s: float

    def measure(self, load: LoadSettings) -> Measured:
        """Put it under a load and sum up what was seen after the warm-up.

        Raises:
            DependencyError: The generator failed.
        """
        recording, cpu_s = self.record(load)
        return Measured.of(recording, load, cpu_s)

    def record(self, load: LoadSettings) -> tuple[Recording, dict[str, float]]:
        """Put it under a load; return what was seen, and the processor seconds by kind after the warm-up.

        Raises:
            DependencyError: The generator failed.
        """
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            file = Path(folder) / "recording.npz"
            start_s = time.monotonic() + _GENERATOR_START_S
            asked = {"port": self.port, "start_s": start_s, "load": load.to_json()}
            command = [sys.executable, "-m", f"{__package__}.generator", json.dumps(asked), str(file)]
            generator = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                _sleep_until(start_s + load.warm_up_s)
                before = self._times()
                _sleep_until(start_s + load.total_s)
                cpu_s = self._times().since(before)
                _, errors = generator.communicate(timeout=load.patience_s + _GENERATOR_END_S)
            finally:
                if generator.poll() is None:
                    generator.kill()
                    generator.wait()
            if generator.returncode:
                raise DependencyError(f"the load generator failed: {_tail(errors.decode(errors='replace'))}")
            return Recording.read(file), cpu_s

    def memory_mib(self) -> Mapping[str, float]:
        """By kind of process; see `processes.memory_mib`."""
        return memory_mib(self.pid, self._root_kind)

    def _times(self) -> ProcessTimes:
        return ProcessTimes.of(self.pid, self._root_kind)

    @property
    def _root_kind(self) -> str:
        return GATEWAY if self.system is System.MONOLITH else DRIVER


@contextlib.contextmanager
def running_system(
    system: System, made: MadeWorkspace, log: Path, gateways: int = 0
) -> Iterator[RunningSystem]:
    """Start a system over a copy of the workspace and a Redis with its rows; stop both at the end.

    Args:
        system: Which.
        made: The workspace, which stays as it is.
        log: Gets what the system says; replaced.
        gateways: How many, where it has any; 0: as the service has it.

    Raises:
        DependencyError: It did not become ready; the message has its last words.
    """
    with running_redis(made.redis_folder) as redis, run_copy(made) as workspace:
        port, started_s = free_port(), time.monotonic()
        arguments = (system, workspace.root, port, json.dumps(asdict(made.settings)), gateways)
        command = [sys.executable, "-m", f"{__package__}.systems", *map(str, arguments)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command,
                stdin=subprocess.PIPE,  # closed by the system when this process ends, however it does
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, ONLINE_STORE_VARIABLE: redis.url, **_ONE_THREAD},
            )
        try:
            _wait_until_ready(process, port, system, log)
            yield RunningSystem(system, port, process.pid, time.monotonic() - started_s)
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, system: System, log: Path) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise DependencyError(
                f"{system} ended before it was ready: {_tail(log.read_text(errors='replace'))}"
            )
        with (
            contextlib.suppress(OSError, urllib.error.URLError),
            _DIRECT.open(f"http://127.0.0.1:{port}/readyz", timeout=5.0),
        ):
            return
        time.sleep(_POLL_S)
    raise DependencyError(
        f"{system} was not ready after {READY_TIMEOUT_S:.0f} s: {_tail(log.read_text(errors='replace'))}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop; kill its session where it does not, or leaves something behind."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT_S)
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _tail(text: str) -> str:
    return text[-_LOG_TAIL_CHARACTERS:].strip() or "it said nothing"
