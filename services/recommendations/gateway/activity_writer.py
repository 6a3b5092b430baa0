"""Bringing what users did into the feature store: in the background, bounded, until it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError, OverloadedError
from streamrec.events.compaction import nobody
from streamrec.features.store import FeatureStore
from streamrec.features.user_actions import UserAction

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How actions reach the feature store.

    Attributes:
        queue_limit: Actions that wait or are being written; events beyond are refused before they are
            acknowledged. One takes about 200 bytes.
        batch_users: Users written at a time.
        drain_s: How long a gateway that stops goes on writing: less than it is given to stop in. What is left
            is in the event log; the others bring it in once the store answers, or the next gateway does.
    """

    queue_limit: int = 100_000
    batch_users: int = 32
    drain_s: float = 3.0


class ActivityWriter:
    """Writes actions on a thread of its own, one batch of users at a time. For one event loop.

    Nothing that was taken is given up: what the store does not take now is written again, after a pause that
    grows. Until it is there, `pending` knows it. The store adds an action once however often it is
    written, so a write whose outcome is not known is simply repeated.
    """

    def __init__(
        self,
        store: FeatureStore,
        settings: WriterSettings | None = None,
        written: Callable[[str, Sequence[UserAction]], None] = lambda _user, _acted: None,
        *,
        is_erased: Callable[[str], bool] = nobody,
    ) -> None:
        """Describe a writer; nothing runs before the first action.

        Args:
            store: Where to.
            settings: Bounds.
            written: Called with each user whose row has changed, and with what was added to it.
            is_erased: Says of a user whether nothing may be kept; asked before each write.
        """
        self._is_erased = is_erased
        self._store = store
        self._settings = settings or WriterSettings()
        self._written = written
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feature-writes")
        self._waiting: dict[str, list[UserAction]] = {}
        self._writing: dict[str, list[UserAction]] = {}
        self._count = 0
        self._done: dict[str, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    @property
    def queued_actions(self) -> int:
        """Actions that wait or are being written."""
        return self._count

    @property
    def waiting_users(self) -> int:
        """Users whose actions wait, and are not being written yet."""
        return len(self._waiting)

    @property
    def dropped_actions(self) -> int:
        """Actions that no store could take: they break its rules."""
        return self._dropped

    def check_room(self, count: int) -> None:
        """Refuse events before they are acknowledged.

        Raises:
            OverloadedError: ``count`` further actions would not fit.
        """
        if self._count + count > self._settings.queue_limit:
            raise OverloadedError(f"{self._count} actions wait for the feature store, which is slow or down")

    def pending(self, user_id: str) -> tuple[UserAction, ...]:
        """What the user did that may not be in the store yet."""
        return (*self._writing.get(user_id, ()), *self._waiting.get(user_id, ()))

    def submit(self, actions: Mapping[str, Sequence[UserAction]]) -> asyncio.Future[Any]:
        """Take actions, by user id; the future is done when all are in the store, or waiting is no use.

        A store that has just failed is asked again later; `pending` knows the actions until then.
        """
        loop = asyncio.get_running_loop()
        done: list[asyncio.Future[None]] = []
        for user_id, acted in actions.items():
            if not acted:
                continue
            self._waiting.setdefault(user_id, []).extend(acted)
            self._count += len(acted)
            if user_id not in self._done:
                self._done[user_id] = loop.create_future()
            done.append(self._done[user_id])
        if done and (self._task is None or self._task.done()):
            self._task = loop.create_task(self._drain(), name="feature-writes")
        return asyncio.gather(*done)

    async def close(self) -> None:
        """Write what waits, for at most ``drain_s``, and let the thread go when its last write is over."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=self._settings.drain_s)
            self._task.cancel()
        if self._count:
            _LOG.warning("%d actions are left to other gateways, which read the event log", self._count)
        for future in self._done.values():
            future.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._waiting:
            users = list(self._waiting)[: self._settings.batch_users]
            self._writing = {user_id: self._waiting.pop(user_id) for user_id in users}
            try:
                await self._write(
                    {user: acted for user, acted in self._writing.items() if not self._is_erased(user)}
                )
            except Exception as error:  # noqa: BLE001 - whatever a store raises, what it was given stays
                if pause_s == _FIRST_PAUSE_S:
                    _LOG.warning("actions of %d users wait for the feature store: %s", len(users), error)
                self._put_back()
                self._release(users)
                await asyncio.sleep(pause_s)
                pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S
                self._settle()

    async def _write(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        if not actions:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._store.add_actions, actions)
        except InvalidInputError as error:
            if len(actions) == 1:
                self._dropped += sum(map(len, actions.values()))
                _LOG.exception("actions that the feature store cannot hold are dropped: %s", error.problem)
                return
            # One user's bad action must not keep the others' out.
            for user_id, acted in actions.items():
                await self._write({user_id: acted})

    def _put_back(self) -> None:
        for user_id, acted in self._writing.items():
            self._waiting[user_id] = [*acted, *self._waiting.get(user_id, ())]
        self._writing = {}

    def _settle(self) -> None:
        written, self._writing = self._writing, {}
        for user_id, acted in written.items():
            self._count -= len(acted)
            self._written(user_id, acted)
        self._release(user_id for user_id in written if user_id not in self._waiting)

    def _release(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            future = self._done.pop(user_id, None)
            if future is not None and not future.done():
                future.set_result(None)
