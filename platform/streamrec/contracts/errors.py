"""The error tree. Whether a retry helps is a type, chosen where the failure happens.

StreamRecError
├── TemporaryError              a retry may help
│   ├── DeadlineExceededError   the answer would come too late
│   ├── OverloadedError         refused at once, nothing was done
│   ├── ConflictError           somebody else changed it first
│   └── DependencyError         a store, server or replica did not answer
└── PermanentError              a retry cannot help
    ├── InvalidInputError       a caller's field is wrong
    ├── DataFolderError         a data folder cannot be used; names file and column
    ├── NotFoundError           the named thing does not exist
    ├── PermissionDeniedError   whoever asks may not; somebody else may
    ├── DocumentRefusedError    a published document is damaged, not signed, or not to be trusted
    ├── ArtifactError           an artifact is damaged, incomplete or of a refused format
    └── NotReadyError           something that must exist at start is missing or empty
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class StreamRecError(Exception):
    """Base of every error that this platform raises on purpose."""

    retryable: ClassVar[bool] = False


class TemporaryError(StreamRecError):
    """A retry may help."""

    retryable: ClassVar[bool] = True


class PermanentError(StreamRecError):
    """A retry cannot help."""


class DeadlineExceededError(TemporaryError):
    """The answer would come too late."""


class OverloadedError(TemporaryError):
    """Refused at once because a queue is full; nothing was done."""


class ConflictError(TemporaryError):
    """Somebody else changed it first, nothing was done; read what is there now and try again."""


class DependencyError(TemporaryError):
    """A store, a server or a replica did not answer."""


class InvalidInputError(PermanentError):
    """A caller's field is wrong.

    Attributes:
        field: Dotted path of the field, for example ``events.0.item_id``.
        problem: What is wrong with it, in words for the caller.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class DataFolderError(PermanentError):
    """A data folder cannot be used.

    Attributes:
        file: The file at fault.
        column: The column at fault, or None when the whole file is.
        problem: What is wrong and what to do about it.
    """

    def __init__(self, file: Path, column: str | None, problem: str) -> None:
        where = f"{file}, column {column!r}" if column else str(file)
        super().__init__(f"{where}: {problem}")
        self.file = file
        self.column = column
        self.problem = problem


class NotFoundError(PermanentError):
    """The named thing does not exist."""


class PermissionDeniedError(PermanentError):
    """Whoever asks has not the role that it takes, or may not decide about their own work."""


class DocumentRefusedError(PermanentError):
    """A published document is damaged, not signed, or not to be trusted.

    Attributes:
        code: The reason for programs, out of a short closed list (`streamrec.documents.refusals.Refusal`).
        problem: What is wrong and what to do about it.
    """

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem


class ArtifactError(PermanentError):
    """An artifact is damaged, incomplete or of a refused format."""


class DamagedRowError(PermanentError):
    """A stored row lacks a column that it should have, or holds one of another type: nothing is guessed."""


class NotReadyError(PermanentError):
    """Something that must exist at start is missing or empty; the message says which."""
