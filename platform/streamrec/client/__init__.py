"""A typed client of the recommendation service: `Client` blocks, `AsyncClient` does not.

Needs the extra ``client`` (httpx) and the lightest parts of the hub. What may not go in: other vendors, the
service's own code, anything that takes long to import.
"""

from streamrec.client.answers import EventReceipt, QuarantinedEvent, Recommendation, RecommendedItem
from streamrec.client.async_client import AsyncClient
from streamrec.client.errors import (
    ClientError,
    FieldProblem,
    LateError,
    NoAnswerError,
    Problem,
    ProblemError,
    RateLimitedError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedStatusError,
    UnreadableAnswerError,
)
from streamrec.client.settings import ClientSettings
from streamrec.client.sync_client import Client
from streamrec.client.user_events import UserEvent

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ClientSettings",
    "EventReceipt",
    "FieldProblem",
    "LateError",
    "NoAnswerError",
    "Problem",
    "ProblemError",
    "QuarantinedEvent",
    "RateLimitedError",
    "Recommendation",
    "RecommendedItem",
    "RefusedError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedStatusError",
    "UnreadableAnswerError",
    "UserEvent",
]
