"""Where the heartbeats of replicas lie: one small file each, beside the traffic document."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.contracts.traffic import ReplicaHeartbeat
from streamrec.files.durable_files import make_folder, remove

_LOG = logging.getLogger(__name__)

HEARTBEAT_SILENCE_S: Final = 10.0
"""A replica that was not heard for this long is taken for gone."""

_MAXIMUM_BYTES: Final = 65_536
_MAXIMUM_REPLICAS: Final = 10_000


class Heartbeats(Protocol):
    """What replicas say, and whoever changes the traffic document reads. Safe to use from several threads."""

    def write(self, heartbeat: ReplicaHeartbeat) -> None:
        """Replace the replica's last one. Raises `DependencyError` if it cannot be written."""
        ...

    def remove(self, replica: str) -> None:
        """Forget a replica that stops; nothing happens where it is not known."""
        ...

    def read(self) -> Sequence[ReplicaHeartbeat]:
        """Return the last one of each replica, old ones included; damaged ones are left out.

        Raises:
            DependencyError: They cannot be read.
        """
        ...


class FileHeartbeats:
    """Implements `Heartbeats` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, heartbeat: ReplicaHeartbeat) -> None:
        """See `Heartbeats.write`."""
        try:
            make_folder(self._folder)
            path = self._path(heartbeat.replica)
            written = path.with_suffix(".temporary")
            # Replaced in one step, but not synced: after a crash of the machine no replica is there either.
            written.write_bytes(canonical_json(heartbeat.to_json()))
            written.replace(path)
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be written: {error.strerror}") from error

    def remove(self, replica: str) -> None:
        """See `Heartbeats.remove`."""
        try:
            remove(self._path(replica))
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be written: {error.strerror}") from error

    def read(self) -> Sequence[ReplicaHeartbeat]:
        """See `Heartbeats.read`."""
        try:
            paths = sorted(self._folder.glob("*.json"))[:_MAXIMUM_REPLICAS]
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be read: {error.strerror}") from error
        found = []
        for path in paths:
            try:
                with path.open("rb") as file:
                    found.append(ReplicaHeartbeat.from_json(_parsed(file.read(_MAXIMUM_BYTES + 1))))
            except FileNotFoundError:
                continue  # the replica has just stopped
            except (InvalidInputError, OSError) as error:
                _LOG.warning("the heartbeat %s is left out: %s", path, error)
        return found

    def _path(self, replica: str) -> Path:
        return self._folder / f"{replica}.json"


def _parsed(content: bytes) -> dict[str, Any]:
    return parse_json(content, maximum_bytes=_MAXIMUM_BYTES)


class MemoryHeartbeats:
    """Implements `Heartbeats` for one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, ReplicaHeartbeat] = {}

    def write(self, heartbeat: ReplicaHeartbeat) -> None:
        """See `Heartbeats.write`."""
        with self._lock:
            self._last[heartbeat.replica] = heartbeat

    def remove(self, replica: str) -> None:
        """See `Heartbeats.remove`."""
        with self._lock:
            self._last.pop(replica, None)

    def read(self) -> Sequence[ReplicaHeartbeat]:
        """See `Heartbeats.read`."""
        with self._lock:
            return [self._last[name] for name in sorted(self._last)]
