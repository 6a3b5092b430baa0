"""When a request is wanted back: from the moment it came in, and for as long as its caller waits."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from streamrec.contracts.errors import InvalidInputError
from streamrec.serving.deadline import Deadline
from streamrec.serving.loop_lag import LoopLag

TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"
"""Names the milliseconds that the caller waits, from the first byte that the service reads."""

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_ARRIVED_AT: Final = "arrived_at_s"
_MOST_UNSEEN_MS: Final = 50.0
"""Of the lag, at most so much is added to a request's age. After a long pause the lag is that of the oldest
request that is found; none is to be refused for an age that it only might have."""


@dataclass(frozen=True, slots=True)
class DeadlineLimits:
    """What a caller may ask for.

    Attributes:
        default_ms: Where it says nothing.
        maximum_ms: At most; who asks for more gets this.
    """

    default_ms: float = 100.0
    maximum_ms: float = 1000.0

    def __post_init__(self) -> None:
        if not 0.0 < self.default_ms <= self.maximum_ms < math.inf:
            raise ValueError("deadlines need 0 < default_ms <= maximum_ms, both finite")

    def budget_ms(self, headers: Headers) -> float:
        """Return what a request with these headers may take.

        Raises:
            InvalidInputError: The header is there twice, or is no number above 0; names it.
        """
        asked = headers.getlist(TIMEOUT_HEADER)
        if not asked:
            return self.default_ms
        if len(asked) > 1:
            raise InvalidInputError(TIMEOUT_HEADER, "stands there twice")
        text = asked[0].strip()
        if not _NUMBER.fullmatch(text) or not (budget_ms := float(text)) > 0.0:
            raise InvalidInputError(TIMEOUT_HEADER, "must be a number of milliseconds above 0")
        return min(budget_ms, self.maximum_ms)

    def as_parameter(self) -> dict[str, Any]:
        """Describe the header for the OpenAPI document."""
        return {
            "name": TIMEOUT_HEADER,
            "in": "header",
            "required": False,
            "description": (
                "What the caller waits, in milliseconds from the first byte that the service reads; waiting "
                f"in the service counts. More than {self.maximum_ms:g} is taken for {self.maximum_ms:g}."
            ),
            "schema": {"type": "number", "exclusiveMinimum": 0, "default": self.default_ms},
        }


class ArrivalMiddleware:
    """Writes down when a request came in, before anything else is done with it.

    It has waited as long as the event loop is late before its first byte was read.
    """

    def __init__(self, app: ASGIApp, lag: LoopLag, clock: Callable[[], float] = time.monotonic) -> None:
        """Wrap an application.

        Args:
            app: Gets requests that know when they came in.
            lag: Of the loop that reads them.
            clock: Seconds that never go back.
        """
        self._app = app
        self._lag = lag
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the time unless that was done further out, then pass the request on."""
        if scope["type"] == "http" and _ARRIVED_AT not in scope.get("state", ()):
            unseen_ms = min(self._lag.current_ms(), _MOST_UNSEEN_MS)
            arrived_at_s = self._clock() - unseen_ms / 1000.0
            scope = {**scope, "state": {**scope.get("state", {}), _ARRIVED_AT: arrived_at_s}}
        await self._app(scope, receive, send)


def deadline_of(
    scope: Mapping[str, Any], budget_ms: float, clock: Callable[[], float] = time.monotonic
) -> Deadline:
    """Return the deadline of a request that came through `ArrivalMiddleware` over the same clock."""
    return Deadline(budget_ms, float(scope["state"][_ARRIVED_AT]), clock)
