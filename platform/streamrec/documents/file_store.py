"""A document in a file: replaced atomically under a lock, polled by everybody who can see the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from streamrec.contracts.errors import ConflictError, DependencyError
from streamrec.documents.store import NoContent, StoredContent
from streamrec.files.durable_files import make_folder, write_atomically
from streamrec.files.locks import only_writer_of


class FileDocumentStore:
    """Implements `DocumentStore`. Reading a file that has not changed costs one system call.

    The tag is made of the file's inode, time of modification and size. It cannot come twice: every
    publication is a new file with a later time of modification.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return str(self._path)

    def read(self, maximum_bytes: int, known_tag: str | None = None) -> StoredContent | NoContent:
        """See `DocumentSource.read`."""
        try:
            if known_tag is not None and _tag(self._path.stat()) == known_tag:
                return NoContent.UNCHANGED
            # Not blocking: what is no regular file might never answer.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                # Of the open file, and before it is read: if it is written to meanwhile, the next read sees
                # that.
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise DependencyError(f"{self._path} is not a regular file; remove it")
                return StoredContent(file.read(maximum_bytes + 1), _tag(status))
        except FileNotFoundError:
            return NoContent.MISSING
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be read: {error.strerror}") from error

    def replace(self, content: bytes, expected_tag: str | None) -> None:
        """See `DocumentStore.replace`."""
        try:
            make_folder(self._path.parent)
            with only_writer_of(self._path):
                try:
                    tag = _tag(self._path.stat())
                except FileNotFoundError:
                    tag = None
                if tag != expected_tag:
                    raise ConflictError(
                        f"{self._path} was replaced by another publisher meanwhile; read it again"
                    )
                write_atomically(self._path, content)
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be written: {error.strerror}") from error


def _tag(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
