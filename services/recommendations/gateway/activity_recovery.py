"""What a gateway had acknowledged and not yet brought into the feature store when it ended: others do it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from services.recommendations.gateway.user_states import UserStates
from streamrec.contracts.errors import TemporaryError
from streamrec.features.store import FeatureStore
from streamrec.features.user_actions import UserAction

_LOG = logging.getLogger(__name__)

_BATCH_USERS: Final = 32
_PAUSE_S: Final = 0.05
_RETRY_S: Final = 1.0


class ActivityRecovery:
    """Reads the event log: at the start, from where the rows are known to be complete, and after each outage
    of the store, from its beginning. For one event loop.

    A gateway that is killed between the log and the store is followed by another, which starts. One that is
    given back while the store is down is not: what it had is brought in by those that stay. Reading goes on
    beside the requests. An action that is in its row already is not written again.
    """

    def __init__(
        self,
        store: FeatureStore,
        users: UserStates,
        acknowledged_since: Callable[[datetime | None], Mapping[str, Sequence[UserAction]]],
        *,
        retry_s: float = _RETRY_S,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """Describe it; `start` starts it.

        Args:
            store: Where rows are.
            users: Takes what is found.
            acknowledged_since: Reads what users did since a time from the event log; all where None.
            retry_s: Between two attempts to read a log that cannot be read now.
            pause_s: Between two looks whether the store has room for more.
        """
        self._retry_s, self._pause_s = retry_s, pause_s
        self._store = store
        self._users = users
        self._acknowledged_since = acknowledged_since
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; once."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="activity-recovery")

    async def stop(self) -> None:
        """End; the next gateway begins anew."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def run(self) -> None:
        """Return when everything that was found at the start has been brought to the store."""
        await self._bring_in(self._store.events_until)

    async def _work(self) -> None:
        await self.run()
        while True:
            await self._bring_in(partial(_same, await self._users.outage_over()))

    async def _bring_in(self, since: Callable[[], datetime | None]) -> None:
        try:
            actions = await self._read(since)
        except Exception:  # noqa: BLE001 - see below
            # A damaged log is the business of whoever reads it for good; here it must not stop the service.
            _LOG.exception("what other gateways acknowledged could not be read from the event log")
            return
        remaining = iter(actions.items())
        while batch := dict(islice(remaining, _BATCH_USERS)):
            while not self._users.takes_old_actions:  # noqa: ASYNC110 - the queue sets no event
                await asyncio.sleep(self._pause_s)
            await self._users.add_actions(batch)
        if actions:
            _LOG.info("the rows of %d users hold what they did at any gateway", len(actions))

    async def _read(self, since: Callable[[], datetime | None]) -> Mapping[str, Sequence[UserAction]]:
        while True:
            try:
                return await asyncio.to_thread(lambda: self._acknowledged_since(since()))
            except TemporaryError as error:
                _LOG.warning("the event log will be read again: %s", error)
                await asyncio.sleep(self._retry_s)


def _same(moment: datetime) -> datetime:
    return moment
