"""Remembers over the death of a process that it died while it loaded a version.

A version that eats all memory takes its process along, and whoever replaces the process would load it again,
and die again, without ever saying why. So each attempt leaves a file that its end removes; one that is found
without anybody holding it is the trace of a death. After some of these the version is refused, and the
replica lives to say so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, Protocol

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.models import ModelRef
from streamrec.files.durable_files import make_folder
from streamrec.files.locks import try_lock

_LOG = logging.getLogger(__name__)

MAXIMUM_DEATHS: Final = 2
_FORGOTTEN_AFTER_S: Final = 600.0
_MAXIMUM_BYTES: Final = 16


class LoadAttempts(Protocol):
    """Says whether a version may be loaded, and takes note of how that ends."""

    def loading(self, ref: ModelRef) -> AbstractContextManager[None]:
        """Surround an attempt to load a version.

        Raises:
            ArtifactError: The processes that loaded it lately have died.
        """
        ...


class UncountedAttempts:
    """Implements `LoadAttempts`: every attempt is the first."""

    def loading(self, ref: ModelRef) -> AbstractContextManager[None]:  # noqa: ARG002 - port
        """Nothing is noted."""
        return nullcontext()


class FileLoadAttempts:
    """Implements `LoadAttempts` in a folder of this machine; a lock tells who lives from who has died."""

    def __init__(
        self,
        folder: Path,
        *,
        maximum_deaths: int = MAXIMUM_DEATHS,
        remedy: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is read or made yet.

        Args:
            folder: Holds one small file for each version that is being loaded.
            maximum_deaths: After so many it is refused.
            remedy: What may be the cause and what to do, for the message.
            clock: Seconds since 1970. What died longer than ten minutes ago may be tried again.
        """
        self._folder, self._maximum_deaths, self._remedy, self._clock = folder, maximum_deaths, remedy, clock

    @contextmanager
    def loading(self, ref: ModelRef) -> Iterator[None]:
        """See `LoadAttempts.loading`."""
        descriptor = self._held(ref)
        if descriptor is None:
            # Another process loads it just now, or nothing can be written here: it counts by itself.
            yield
            return
        try:
            deaths = self._deaths(descriptor)
            if deaths >= self._maximum_deaths:
                raise ArtifactError(
                    f"{deaths} processes that loaded it have died, so it is not tried again for "
                    f"{_FORGOTTEN_AFTER_S / 60.0:.0f} minutes{self._remedy}"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(deaths + 1).encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _held(self, ref: ModelRef) -> int | None:
        """The file of a version, locked; None where another process holds it or it cannot be written."""
        try:
            make_folder(self._folder)
            descriptor = os.open(
                self._folder / f"{ref}.loading", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            _LOG.warning("attempts to load %s are not counted: %s", ref, error)
            return None
        if not try_lock(descriptor):
            os.close(descriptor)
            return None
        return descriptor

    def _deaths(self, descriptor: int) -> int:
        if self._clock() - os.fstat(descriptor).st_mtime >= _FORGOTTEN_AFTER_S:
            return 0
        content = os.pread(descriptor, _MAXIMUM_BYTES, 0)
        return int(content) if content.isdigit() else 0
