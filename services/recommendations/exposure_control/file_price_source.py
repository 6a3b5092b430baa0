"""Prices in a file: written atomically by one controller, polled by every replica that can see the folder."""

from __future__ import annotations

import stat
from pathlib import Path

from services.recommendations.exposure_control.price_document import (
    MAXIMUM_BYTES,
    PriceDocument,
    parse_price_document,
)
from services.recommendations.exposure_control.price_source import PolledPriceSource, check_newer
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.files.durable_files import make_folder, write_atomically


class FilePriceSource(PolledPriceSource):
    """Implements `PriceSource`. A poll of a file that has not changed costs one system call."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def _read_changed(self) -> bytes | None:
        try:
            status = self._path.stat()
            identity = (status.st_ino, status.st_mtime_ns, status.st_size)
            if identity == self._seen:
                return None
            # Noted before reading: bad content is not read again either until the file changes.
            self._seen = identity
            return _read(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._seen = None
            raise DependencyError(f"{self._path} cannot be read: {error.strerror}") from error


class FilePricePublisher:
    """Implements `PricePublisher`. One process publishes at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, document: PriceDocument) -> None:
        """See `PricePublisher.publish`. A document that cannot be read is no reason not to replace it."""
        try:
            published = self.published()
        except InvalidInputError:
            published = None
        check_newer(document, published)
        try:
            make_folder(self._path.parent)
            write_atomically(self._path, document.to_bytes())
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be written: {error.strerror}") from error

    def published(self) -> PriceDocument | None:
        """See `PricePublisher.published`."""
        try:
            return parse_price_document(_read(self._path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidInputError("document", f"{path} is not a regular file")
    with path.open("rb") as file:
        # One byte more than allowed: enough to see that it is too much.
        return file.read(MAXIMUM_BYTES + 1)
