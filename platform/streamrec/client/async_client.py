"""The client for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar

import httpx

from streamrec.client.answers import EventReceipt, Recommendation
from streamrec.client.conversation import Conversations, Failure, NoReply, Outcome, Pause, Send, Step, Steps
from streamrec.client.http_replies import (
    TRANSPORT_ERRORS,
    AnswerTooLargeError,
    ReplyReader,
    no_reply,
    tls_context,
)
from streamrec.client.settings import ClientSettings
from streamrec.client.user_events import UserEvent
from streamrec.serving.retry_budget import RetryBudget

T = TypeVar("T")


class AsyncClient:
    """Asks the recommendation service from one event loop; an asynchronous context manager.

    No setting comes from the environment, proxies included.
    """

    def __init__(
        self,
        settings: ClientSettings,
        budget: RetryBudget | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Open a client; the arguments are those of `sync_client.Client`."""
        self._conversations = Conversations(settings, budget)
        limits = httpx.Limits(max_connections=settings.maximum_connections)
        self._http = httpx.AsyncClient(verify=tls_context(settings), limits=limits, trust_env=False)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def recommend(
        self,
        user_id: str,
        *,
        k: int | None = None,
        context: Mapping[str, str] | None = None,
        request_id: str | None = None,
        page_token: str | None = None,
        deadline_ms: float | None = None,
    ) -> Recommendation:
        """Ask for a slate; arguments and errors are those of `sync_client.Client.recommend`."""
        return await self._run(
            self._conversations.recommend(
                user_id,
                k=k,
                context=context,
                request_id=request_id,
                page_token=page_token,
                deadline_ms=deadline_ms,
            )
        )

    async def send_events(
        self, events: Sequence[UserEvent], *, deadline_ms: float | None = None
    ) -> EventReceipt:
        """Say what users did; arguments and errors are those of `sync_client.Client.send_events`."""
        return await self._run(self._conversations.send_events(events, deadline_ms=deadline_ms))

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
            outcome = await self._perform(step)

    async def _perform(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        try:
            # httpx's own time-outs count from the last byte that came.
            async with asyncio.timeout(step.deadline.remaining_ms() / 1000.0), self._post(step) as response:
                reader = ReplyReader(step, response)
                async for piece in response.aiter_raw():
                    reader.add(piece)
                return reader.reply()
        except TimeoutError:
            return NoReply(Failure.LATE)
        except (*TRANSPORT_ERRORS, AnswerTooLargeError) as error:
            return no_reply(error)

    def _post(self, send: Send) -> AbstractAsyncContextManager[httpx.Response]:
        return self._http.stream(
            "POST", send.url, content=send.content, headers=dict(send.headers), timeout=None
        )
