"""The client for code that blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

import httpx

from streamrec.client.answers import EventReceipt, Recommendation
from streamrec.client.conversation import Conversations, Outcome, Pause, Send, Step, Steps
from streamrec.client.deadline_transport import DeadlineTransport, within
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


class Client:
    """Asks the recommendation service. Safe to use from several threads; a context manager.

    No setting comes from the environment, proxies included.
    """

    def __init__(
        self,
        settings: ClientSettings,
        budget: RetryBudget | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open a client; it connects when it is first used.

        Args:
            settings: Where and how.
            budget: What retries are taken out of; several clients of one service may share one.
            sleep: Waits some seconds before a retry.
        """
        self._conversations = Conversations(settings, budget)
        self._http = httpx.Client(
            transport=DeadlineTransport(
                tls_context(settings), maximum_connections=settings.maximum_connections
            ),
            trust_env=False,
        )
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def recommend(
        self,
        user_id: str,
        *,
        k: int | None = None,
        context: Mapping[str, str] | None = None,
        request_id: str | None = None,
        page_token: str | None = None,
        deadline_ms: float | None = None,
    ) -> Recommendation:
        """Ask for a slate.

        Args:
            user_id: Whom it is for.
            k: Length of the slate; the service's default where None.
            context: What the caller knows of the user: country, language, age_band, signup_channel.
            request_id: What the caller calls the request.
            page_token: ``next_page_token`` of the page before.
            deadline_ms: What the call may take, retries included; the service is told what is left of it.
                Where None the service applies its own, and the client waits for ``timeout_s``.

        Raises:
            ClientError: There is no answer; its type says whether a later attempt can help.
            InvalidInputError: The deadline is out of its bounds.
        """
        return self._run(
            self._conversations.recommend(
                user_id,
                k=k,
                context=context,
                request_id=request_id,
                page_token=page_token,
                deadline_ms=deadline_ms,
            )
        )

    def send_events(self, events: Sequence[UserEvent], *, deadline_ms: float | None = None) -> EventReceipt:
        """Say what users did, in as many requests as are needed.

        Args:
            events: What they did. Sending the same objects again is safe: each counts once.
            deadline_ms: What each of the requests may take, retries included.

        Raises:
            ClientError: Not all of them were acknowledged; ``acknowledged`` says what was before.
            InvalidInputError: The deadline is out of its bounds.
        """
        return self._run(self._conversations.send_events(events, deadline_ms=deadline_ms))

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
            outcome = self._perform(step)

    def _perform(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        try:
            with within(step.deadline), self._post(step) as response:
                reader = ReplyReader(step, response)
                for piece in response.iter_raw():
                    reader.add(piece)
                return reader.reply()
        except (*TRANSPORT_ERRORS, AnswerTooLargeError) as error:
            return no_reply(error)

    def _post(self, send: Send) -> AbstractContextManager[httpx.Response]:
        return self._http.stream(
            "POST",
            send.url,
            content=send.content,
            headers=dict(send.headers),
            timeout=send.deadline.remaining_ms() / 1000.0,
        )
