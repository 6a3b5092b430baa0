"""The gateway's catalogue while it changes: known items and ladder follow, waiting events are let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from services.recommendations.pipeline.served_items import ServedItems
from streamrec.contracts.errors import StreamRecError
from streamrec.items.follower import ItemFeed
from streamrec.serving.live_models import FollowedItems

_LOG = logging.getLogger(__name__)

_LOOK_S: Final = 0.2
"""Between two looks whether another item is known."""


class LiveItems:
    """The materialised catalogue as of the newest revision of the item log. `current` never waits."""

    def __init__(self, imported: ServedItems, feed: ItemFeed) -> None:
        self._followed = FollowedItems(feed)
        self._live = self._followed.live(imported.as_of, _answer_once)

    def current(self) -> ServedItems:
        """The catalogue as it is now."""
        return self._live.current.model

    @property
    def problem(self) -> str:
        """Why the log could not be read at the last look; empty where it could."""
        return self._followed.problem

    def refresh(self) -> None:
        """Look at the log now."""
        self._followed.refresh()

    def start(self) -> None:
        """Follow the log from now on."""
        self._followed.start()

    def stop(self) -> None:
        """Follow it no more."""
        self._followed.stop()


async def readmit_for_ever(items: LiveItems, readmit: Callable[[], Awaitable[int]]) -> None:
    """Let waiting events in whenever the catalogue has changed, until the task is cancelled."""
    seen: ServedItems | None = None
    while True:
        now = items.current()
        if now is not seen:
            try:
                count = await readmit()
            except StreamRecError:
                # They go on waiting, and are tried again with the next look.
                _LOG.warning("events on new items are not let in yet", exc_info=True)
            else:
                seen = now
                if count:
                    _LOG.info("%d events count now: their items are known", count)
        await asyncio.sleep(_LOOK_S)


def _answer_once(items: ServedItems) -> None:
    items.ladder.answer(language=None, seen=(), count=1)
