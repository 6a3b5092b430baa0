"""Artifacts on this machine, in folders named by their digest."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ArtifactError, DependencyError
from streamrec.registry.formats import check_formats
from streamrec.registry.manifest import verify_manifest

_LOG = logging.getLogger(__name__)

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_INCOMING_PREFIX: Final = "incoming-"
_DAMAGED_PREFIX: Final = "damaged-"
_ABANDONED_AFTER_S: Final = 3600.0
"""A download that is older than this was cut off: nothing that is still running takes an hour."""


class ArtifactCache:
    """Content-addressed folders that several threads and processes share.

    A folder appears under its digest by one rename, complete and verified, or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, digest: str, download: Callable[[Path], None]) -> Path:
        """Return the folder of an artifact, verified byte by byte, downloading it if need be.

        A cached folder that no longer verifies is set aside and downloaded again.

        Args:
            digest: SHA-256 of the artifact's manifest.
            download: Copies the artifact, manifest included, into the empty folder it is given.

        Raises:
            ArtifactError: What was downloaded does not verify, or is of a refused format.
            DependencyError: The cache folder cannot be written; or whatever ``download`` raises.
        """
        if not _DIGEST.fullmatch(digest):
            raise ArtifactError(f"{digest!r} is not a SHA-256 in lower-case hexadecimal")
        target = self._folder / digest
        if target.is_dir():
            try:
                verify_manifest(target, digest)
            except ArtifactError as error:
                _LOG.warning("cached artifact is damaged and is fetched again: %s", error)
                self._set_aside(target)
            else:
                return target
        try:
            return self._download(digest, target, download)
        except OSError as error:
            raise DependencyError(f"the artifact cache {self._folder} cannot be written: {error}") from error

    def _download(self, digest: str, target: Path, download: Callable[[Path], None]) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        incoming = self._folder / f"{_INCOMING_PREFIX}{uuid.uuid4().hex}"
        incoming.mkdir()
        try:
            download(incoming)
            check_formats(incoming, verify_manifest(incoming, digest))
            for path in incoming.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
            try:
                incoming.rename(target)
            except OSError:
                # Another process was first: a folder that is not empty cannot be renamed over.
                verify_manifest(target, digest)
            return target
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _set_aside(self, target: Path) -> None:
        damaged = self._folder / f"{_DAMAGED_PREFIX}{uuid.uuid4().hex}"
        # Another process may have set it aside already.
        with contextlib.suppress(FileNotFoundError):
            target.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        oldest_s = time.time() - _ABANDONED_AFTER_S
        with os.scandir(self._folder) as listing:
            for child in listing:
                if child.name.startswith((_INCOMING_PREFIX, _DAMAGED_PREFIX)):
                    with contextlib.suppress(FileNotFoundError):
                        if child.stat().st_mtime < oldest_s:
                            shutil.rmtree(child.path, ignore_errors=True)
