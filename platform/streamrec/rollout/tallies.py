"""Where the tallies of the services lie: one small file for each process that answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.contracts.rollouts.tallies import ServedTally
from streamrec.files.durable_files import make_folder, remove

_LOG = logging.getLogger(__name__)

MAXIMUM_TALLY_BYTES: Final = 4 * 1_048_576
"""A tally with all of its rows, each with every latency bucket, has about a megabyte."""

MAXIMUM_SERVERS: Final = 4_096
"""Files that are read; more cannot be told apart from a folder that is not what it should be."""

_SUFFIX: Final = ".json"


class DamagedTalliesError(DependencyError):
    """Some tallies cannot be read, so that what all of them say together is not known.

    Attributes:
        readable: The others: what they count has happened, and harm that they show is harm.
    """

    def __init__(self, message: str, readable: Sequence[ServedTally]) -> None:
        super().__init__(message)
        self.readable = tuple(readable)


class Tallies(Protocol):
    """What services have counted, and whoever decides rollouts reads. Safe to use from several threads."""

    def write(self, tally: ServedTally) -> None:
        """Replace the process's last one.

        Raises:
            InvalidInputError: It is larger than `MAXIMUM_TALLY_BYTES`.
            DependencyError: It cannot be written.
        """
        ...

    def remove(self, server: str) -> None:
        """Forget a process; nothing happens where it is not known.

        Not for a process that stops: what it has counted counts as long as its rollouts are not over.

        Raises:
            DependencyError: It cannot be removed.
        """
        ...

    def read(self) -> Sequence[ServedTally]:
        """Return the last one of each process, by name; those of processes that are gone too.

        Raises:
            DamagedTalliesError: One or more are damaged, so that the sums would be too small; it holds the
                others, and its message says which.
            DependencyError: They cannot be read, or are more than `MAXIMUM_SERVERS`.
        """
        ...


class FileTallies:
    """Implements `Tallies` in a folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self._folder = folder

    def write(self, tally: ServedTally) -> None:
        """See `Tallies.write`."""
        content = _content(tally)
        path = self._path(tally.server)
        written = path.with_suffix(".temporary")
        try:
            make_folder(self._folder)
            # Replaced in one step, but not synced: after a crash of the machine it may be some seconds old.
            written.write_bytes(content)
            written.replace(path)
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be written: {error.strerror}") from error

    def remove(self, server: str) -> None:
        """See `Tallies.remove`."""
        try:
            remove(self._path(server))
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be written: {error.strerror}") from error

    def read(self) -> Sequence[ServedTally]:
        """See `Tallies.read`."""
        try:
            paths = sorted(self._folder.glob(f"*{_SUFFIX}"))
        except OSError as error:
            raise DependencyError(f"{self._folder} cannot be read: {error.strerror}") from error
        if len(paths) > MAXIMUM_SERVERS:
            raise DependencyError(
                f"{self._folder} holds {len(paths):,} tallies, more than {MAXIMUM_SERVERS:,}: "
                "look at what writes there"
            )
        found, damaged = [], []
        for path in paths:
            try:
                found.append(_read(path))
            except FileNotFoundError:
                continue  # removed meanwhile
            except (InvalidInputError, OSError) as error:
                _LOG.warning("the tally %s cannot be read: %s", path, error)
                damaged.append(path.name)
        if damaged:
            raise DamagedTalliesError(
                f"{len(damaged)} of {len(paths)} tallies in {self._folder} cannot be read, "
                f"first {damaged[0]}; a service that runs writes its own anew within seconds, "
                "that of one that is gone is to be removed by hand once you know why",
                found,
            )
        return found

    def _path(self, server: str) -> Path:
        return self._folder / f"{server}{_SUFFIX}"


class MemoryTallies:
    """Implements `Tallies` for one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, ServedTally] = {}

    def write(self, tally: ServedTally) -> None:
        """See `Tallies.write`."""
        _content(tally)
        with self._lock:
            self._last[tally.server] = tally

    def remove(self, server: str) -> None:
        """See `Tallies.remove`."""
        with self._lock:
            self._last.pop(server, None)

    def read(self) -> Sequence[ServedTally]:
        """See `Tallies.read`."""
        with self._lock:
            return [self._last[name] for name in sorted(self._last)]


def _content(tally: ServedTally) -> bytes:
    content = canonical_json(tally.to_json())
    if len(content) > MAXIMUM_TALLY_BYTES:
        raise InvalidInputError(
            "rows",
            f"take {len(content):,} bytes; at most {MAXIMUM_TALLY_BYTES:,}: let go of the oldest steps",
        )
    return content


def _read(path: Path) -> ServedTally:
    with path.open("rb") as file:
        content = file.read(MAXIMUM_TALLY_BYTES + 1)
    tally = ServedTally.from_json(parse_json(content, maximum_bytes=MAXIMUM_TALLY_BYTES))
    if tally.server != path.name.removesuffix(_SUFFIX):
        raise InvalidInputError("server", f"is {tally.server}, and the file that of another process")
    return tally
