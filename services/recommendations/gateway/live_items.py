"""The gateway's catalogue while it changes: known items and ladder follow, waiting events are let in,
and what is materialised anew is read beside the requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.recommendations.pipeline.served_items import ServedItems
from streamrec.contracts.errors import StreamRecError
from streamrec.documents.polling import Poller
from streamrec.features.store import FeatureStore
from streamrec.items.follower import ItemFeed
from streamrec.serving.live_models import FollowedItems

_LOG = logging.getLogger(__name__)

_LOOK_S: Final = 0.2
"""Between two looks whether another item is known."""


@dataclass(frozen=True, slots=True)
class ItemFeatureSettings:
    """How the features of items are kept up to date.

    Attributes:
        look_s: Between two looks whether features were materialised anew, which is one system call.
        refresh_s: After so long they are read again in any case.
        pause_s: Between two steps of reading, each of which takes the interpreter from requests for well
            below a millisecond.
    """

    look_s: float = 1.0
    refresh_s: float = 900.0
    pause_s: float = 0.002


class LiveItems:
    """The materialised catalogue as of the newest revision of the item log. `current` never waits."""

    def __init__(self, imported: ServedItems, feed: ItemFeed) -> None:
        self._followed = FollowedItems(feed)
        self.replace_imported(imported)

    def replace_imported(self, imported: ServedItems) -> None:
        """Exchange the materialised catalogue, in one step, for one that was materialised later."""
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


class ItemRefresh:
    """Reads the features of all items again, in a thread of its own, and exchanges them in one step.

    What cannot be read stays as it was, is said once in the process's log, and is tried again.
    """

    def __init__(
        self,
        store: FeatureStore,
        items: LiveItems,
        settings: ItemFeatureSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe it; `start` starts it.

        Args:
            store: Where features are; ``items`` were read from it a moment ago.
            items: What requests are answered from.
            settings: When.
            clock: Seconds that never go back.
        """
        self._store, self._items = store, items
        self._settings = settings or ItemFeatureSettings()
        self._clock = clock
        self._generation = store.generation()
        self._materialized_at = store.materialized_at()
        self._read_at_s = clock()
        self._problem = ""
        self._poller = Poller(self.refresh, interval_s=self._settings.look_s, name="item-features")

    @property
    def materialized_at(self) -> datetime:
        """When the features that answer were materialised, UTC."""
        return self._materialized_at

    def refresh(self) -> None:
        """Look now, and read where there is something new, or where it is time. Never raises."""
        generation, now_s = self._store.generation(), self._clock()
        if generation == self._generation and now_s - self._read_at_s < self._settings.refresh_s:
            return
        try:
            materialized_at = self._store.materialized_at()
            counts = self._store.item_counts(lambda: time.sleep(self._settings.pause_s))
            self._items.replace_imported(ServedItems.from_counts(counts))
        except Exception as error:  # noqa: BLE001 - what is there answers; the thread must go on looking
            if str(error) != self._problem:
                self._problem = str(error)
                _LOG.warning("the features of items stay as they were: %s", error)
            return
        self._problem = ""
        if generation != self._generation:
            _LOG.info("%d items with the features that were materialised last", len(counts.item_ids))
        self._generation, self._materialized_at, self._read_at_s = generation, materialized_at, now_s

    def start(self) -> None:
        """Look from now on."""
        self._poller.start()

    def stop(self) -> None:
        """Look no more."""
        self._poller.stop()


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
