"""After a gateway was killed: what it had acknowledged and not yet brought into the feature store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final

from services.recommendations.gateway.user_states import UserStates
from streamrec.contracts.errors import TemporaryError
from streamrec.features.store import FeatureStore
from streamrec.features.user_actions import UserAction

_LOG = logging.getLogger(__name__)

_BATCH_USERS: Final = 256
_RETRY_S: Final = 1.0


class ActivityRecovery:
    """Reads the event log once, from where the rows are known to be complete. For one event loop.

    It goes on beside the requests. An action that is in its row already is not written again.
    """

    def __init__(
        self,
        store: FeatureStore,
        users: UserStates,
        acknowledged_since: Callable[[datetime | None], Mapping[str, Sequence[UserAction]]],
        *,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._retry_s = retry_s
        self._store = store
        self._users = users
        self._acknowledged_since = acknowledged_since
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; once."""
        self._task = asyncio.get_running_loop().create_task(self.run(), name="activity-recovery")

    async def stop(self) -> None:
        """End; the next gateway begins anew."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def run(self) -> None:
        """Return when everything that was found has been brought to the store."""
        try:
            actions = await self._read()
        except Exception:  # noqa: BLE001 - see below
            # A damaged log is the business of whoever reads it for good; here it must not stop the service.
            _LOG.exception("what an earlier gateway acknowledged could not be read from the event log")
            return
        remaining = iter(actions.items())
        while batch := dict(islice(remaining, _BATCH_USERS)):
            while not self._users.takes_old_actions:  # noqa: ASYNC110 - the queue sets no event
                await asyncio.sleep(self._retry_s)
            await self._users.add_actions(batch)
        if actions:
            _LOG.info("the rows of %d users hold what they did before this gateway began", len(actions))

    async def _read(self) -> Mapping[str, Sequence[UserAction]]:
        while True:
            try:
                return await asyncio.to_thread(lambda: self._acknowledged_since(self._store.events_until()))
            except TemporaryError as error:
                _LOG.warning("the event log will be read again: %s", error)
                await asyncio.sleep(self._retry_s)
