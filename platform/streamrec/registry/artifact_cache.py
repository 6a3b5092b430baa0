"""Artifacts on this machine, in folders named by their digest, up to a bound.

Whoever fetches a folder holds a shared lock on it, and eviction takes only what it can lock alone: what a
running process uses stays, and what a killed one used is free at once, without a record that could be wrong.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError, OverloadedError
from streamrec.files.locks import try_lock, wait_for_shared_lock
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import verify_manifest

DEFAULT_MAXIMUM_BYTES: Final = 20 * 1024**3
"""Two hundred artifacts of 100 MB."""

_LOG = logging.getLogger(__name__)

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_INCOMING_PREFIX: Final = "incoming-"
_ASIDE_PREFIX: Final = "damaged-"
_EVICTED_PREFIX: Final = "evicted-"
_ABANDONED_AFTER_S: Final = 3600.0
"""A folder with such a prefix that is older, and that nobody holds, was left by a process that was killed."""

_CHANGES_TIMEOUT_S: Final = 10.0
"""Whoever takes folders out of the cache holds a lock on it, and lets go before files are removed."""

_POLL_INTERVAL_S: Final = 0.01

_OPEN_CACHE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_FOLDER: Final = _OPEN_CACHE | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True, order=True)
class _Cached:
    used_ns: int
    path: Path
    size_bytes: int


class ArtifactCache:
    """Content-addressed folders that several threads and processes share.

    A folder appears under its digest by one rename, complete and verified, or not at all; it goes by one
    rename too. What was fetched stays until the process ends, or `keep_only` lets go of it.
    """

    def __init__(self, folder: Path, maximum_bytes: int = DEFAULT_MAXIMUM_BYTES) -> None:
        """Nothing is opened yet.

        Args:
            folder: Holds the cache.
            maximum_bytes: When a download makes the cache larger, what was not used for the longest time
                goes, unless a running process uses it.

        Raises:
            InvalidInputError: The bound is not positive.
        """
        if maximum_bytes < 1:
            raise InvalidInputError("cache_maximum_bytes", "must be 1 or more")
        self._folder = folder
        self._maximum_bytes = maximum_bytes
        self._lock = Lock()
        self._leases: dict[str, int] = {}

    def fetch(self, digest: str, download: Callable[[Path], None]) -> Path:
        """Return the folder of an artifact, verified byte by byte, downloading it if need be.

        A cached folder that no longer verifies is set aside and downloaded again.

        Args:
            digest: SHA-256 of the artifact's manifest.
            download: Copies the artifact, manifest included, into the empty folder it is given.

        Raises:
            ArtifactError: What was downloaded does not verify, or is of a refused format.
            DependencyError: The cache folder cannot be read or written; or whatever ``download`` raises.
        """
        if not _DIGEST.fullmatch(digest):
            raise ArtifactError(f"{digest!r} is not a SHA-256 in lower-case hexadecimal")
        target = self._folder / digest
        try:
            while not self._is_verified(digest, target) and not self._download(digest, target, download):
                pass  # another process was first, with a folder that is verified in the next round
        except OSError as error:
            raise DependencyError(f"the artifact cache {self._folder} cannot be written: {error}") from error
        return target

    def keep_only(self, digests: Collection[str]) -> None:
        """Let go of every artifact that this object fetched but these: the others may be evicted."""
        with self._lock:
            for digest in self._leases.keys() - set(digests):
                os.close(self._leases.pop(digest))

    def _is_verified(self, digest: str, target: Path) -> bool:
        """Whether the folder is there and good; then it is held."""
        lease = _lease(target)
        if lease is None:
            return False
        try:
            verify_manifest(target, digest)
        except ArtifactError as error:
            _LOG.warning("cached artifact is damaged and is fetched again: %s", error)
            try:
                self._set_aside(target, lease)
            finally:
                os.close(lease)
            return False
        except BaseException:
            os.close(lease)
            raise
        self._hold(digest, lease)
        try:
            os.utime(target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
                raise
            # A cache that another user filled is read only, and its order is that user's.
        return True

    def _hold(self, digest: str, lease: int) -> None:
        with self._lock:
            before = self._leases.pop(digest, None)
            self._leases[digest] = lease
        if before is not None:
            os.close(before)

    def _download(self, digest: str, target: Path, download: Callable[[Path], None]) -> bool:
        """Whether the artifact was put into place and is held; False where another process was first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        incoming = self._folder / f"{_INCOMING_PREFIX}{uuid.uuid4().hex}"
        incoming.mkdir()
        lease = os.open(incoming, _OPEN_FOLDER)
        try:
            # The lock belongs to the folder, not to its name: it is held before anybody can see the folder.
            wait_for_shared_lock(lease)
            download(incoming)
            check_formats(incoming, verify_manifest(incoming, digest))
            for path in incoming.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
            os.utime(incoming)  # a copy may have brought the time of its original
            try:
                incoming.rename(target)
            except OSError as error:
                # A folder that is not empty cannot be renamed over.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                os.close(lease)
                return False
        except BaseException:
            os.close(lease)
            raise
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        self._hold(digest, lease)
        self._evict()
        return True

    def _evict(self) -> None:
        """Remove what was not used for the longest time until the rest fits, but nothing that is in use."""
        evicted: list[Path] = []
        try:
            with self._changing():
                cached = sorted(self._cached())
                total_bytes = sum(artifact.size_bytes for artifact in cached)
                for artifact in cached:
                    if total_bytes <= self._maximum_bytes:
                        break
                    aside = self._take_unused(artifact.path)
                    if aside is not None:
                        evicted.append(aside)
                        total_bytes -= artifact.size_bytes
            if total_bytes > self._maximum_bytes:
                _LOG.warning(
                    "the artifact cache %s holds %d bytes, more than %d: all of it is in use",
                    *(self._folder, total_bytes, self._maximum_bytes),
                )
        except (OSError, OverloadedError) as error:
            # What was asked for is there; the next download tries again.
            _LOG.warning("nothing was evicted from the artifact cache: %s", error)
        for aside in evicted:
            shutil.rmtree(aside, ignore_errors=True)

    def _take_unused(self, path: Path) -> Path | None:
        """Rename a folder that nobody holds, so that nobody finds it any more. None where somebody does."""
        try:
            descriptor = os.open(path, _OPEN_FOLDER)
        except FileNotFoundError:
            return None
        try:
            if not try_lock(descriptor):
                return None
            aside = self._folder / f"{_EVICTED_PREFIX}{uuid.uuid4().hex}"
            path.rename(aside)
        finally:
            os.close(descriptor)
        _LOG.info("evicted the artifact %s", path.name)
        return aside

    def _cached(self) -> Iterator[_Cached]:
        with os.scandir(self._folder) as listing:
            for child in listing:
                if _DIGEST.fullmatch(child.name):
                    path = Path(child.path)
                    with contextlib.suppress(FileNotFoundError):
                        yield _Cached(child.stat().st_mtime_ns, path, _size_bytes(path))

    def _set_aside(self, target: Path, lease: int) -> None:
        """Rename the damaged folder that ``lease`` holds, and no other that took its place since."""
        aside = self._folder / f"{_ASIDE_PREFIX}{uuid.uuid4().hex}"
        with self._changing():
            if not _is_at(lease, target):
                return
            target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock on the cache's own folder: there is no file that could be left behind."""
        deadline_s = time.monotonic() + _CHANGES_TIMEOUT_S
        descriptor = os.open(self._folder, _OPEN_CACHE)
        try:
            while not try_lock(descriptor):
                if time.monotonic() >= deadline_s:
                    raise OverloadedError(
                        f"for {_CHANGES_TIMEOUT_S:g} s another process has been changing the artifact cache "
                        f"{self._folder}; try again"
                    )
                time.sleep(_POLL_INTERVAL_S)
            yield
        finally:
            os.close(descriptor)

    def _remove_abandoned(self) -> None:
        oldest_s = time.time() - _ABANDONED_AFTER_S
        with os.scandir(self._folder) as listing:
            for child in listing:
                if child.name.startswith((_INCOMING_PREFIX, _ASIDE_PREFIX, _EVICTED_PREFIX)):
                    with contextlib.suppress(FileNotFoundError):
                        if child.stat().st_mtime < oldest_s:
                            _remove_unheld(Path(child.path))


def _lease(target: Path) -> int | None:
    """Open a folder and lock it together with others; None where it is not there."""
    while True:
        try:
            descriptor = os.open(target, _OPEN_FOLDER)
        except FileNotFoundError:
            return None
        try:
            wait_for_shared_lock(descriptor)
            if _is_at(descriptor, target):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was evicted between the two


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove_unheld(path: Path) -> None:
    descriptor = os.open(path, _OPEN_FOLDER)
    try:
        if try_lock(descriptor):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
