"""What can go wrong with a request: whether a retry helps is a type, as everywhere (`contracts.errors`).

ClientError
├── ProblemError                    the service answered, and said no; has the problem document
│   ├── RefusedError                4xx: the same request will be refused again
│   │   └── UnauthorizedError       401: no valid caller token was sent
│   ├── UnavailableError            429, 502, 503, 504: it may pass
│   │   └── RateLimitedError        429: this caller sends too much
│   └── UnexpectedStatusError       anything else, 500 and redirections among them
├── NoAnswerError                   no connection, or one that broke off
├── LateError                       the deadline was over
└── UnreadableAnswerError           too large, or no answer of this service
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamrec.contracts.errors import (
    DeadlineExceededError,
    DependencyError,
    PermanentError,
    StreamRecError,
    TemporaryError,
)

if TYPE_CHECKING:
    from streamrec.client.answers import EventReceipt


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field.

    Attributes:
        field: Dotted path of the field.
        problem: What is wrong with it.
    """

    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457); what it leaves out, or what was no problem document, is empty.

    Attributes:
        status: The HTTP status.
        type: A URN that identifies the kind of problem.
        title: The kind of problem in words.
        detail: What went wrong this time.
        errors: The fields at fault.
        retry_after_s: When another attempt makes sense, in seconds; None where it is not said.
    """

    status: int
    type: str = ""
    title: str = ""
    detail: str = ""
    errors: tuple[FieldProblem, ...] = ()
    retry_after_s: float | None = None


class ClientError(StreamRecError):
    """No answer that can be used.

    Attributes:
        attempts: Requests that were sent.
        acknowledged: Where a list of events was sent in several requests: what became of those before the
            one that failed. Sending the whole list again is safe: an event id counts once.
    """

    attempts: int = 1
    acknowledged: EventReceipt | None = None


class ProblemError(ClientError):
    """The service answered, and the answer is no.

    Attributes:
        problem: What it said.
    """

    def __init__(self, problem: Problem) -> None:
        words = problem.detail or problem.title
        super().__init__(f"status {problem.status}{': ' if words else ''}{words}")
        self.problem = problem


class RefusedError(ProblemError, PermanentError):
    """The request is refused, and the same one will be again."""


class UnauthorizedError(RefusedError):
    """No valid caller token was sent."""


class UnavailableError(ProblemError, TemporaryError):
    """The service, or a proxy before it, cannot answer now."""


class RateLimitedError(UnavailableError):
    """This caller sends more than it may."""


class UnexpectedStatusError(ProblemError, PermanentError):
    """A status that says neither what is wrong nor that it will pass."""


class NoAnswerError(ClientError, DependencyError):
    """There was no connection, or it broke off.

    Attributes:
        reason: A short name of what happened, for example ``ConnectError``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class LateError(ClientError, DeadlineExceededError):
    """The deadline was over before the answer was there."""


class UnreadableAnswerError(ClientError, PermanentError):
    """What came is too large, or no answer of this service."""
