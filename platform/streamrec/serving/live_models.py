"""Models that follow the item log: each loaded one is kept as of the newest revision, beside the requests.

Which version a replica serves and which items it knows are two things: what answers is a function of the
loaded model and the item state, made anew whenever either changes and exchanged in one step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakSet

from streamrec.documents.polling import Poller
from streamrec.items.follower import POLL_INTERVAL_S, ItemFeed
from streamrec.items.state import ItemState

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelAsOf(Generic[T]):
    """A model and the items it knows. Hold on to one during a request.

    Attributes:
        model: Answers.
        state: What the item log said when it was made.
    """

    model: T
    state: ItemState


class LiveModel(Generic[T]):
    """One loaded model as of the newest items. `current` never waits."""

    def __init__(
        self, make: Callable[[ItemState], T], warm_up: Callable[[T], None], state: ItemState
    ) -> None:
        self._make, self._warm_up = make, warm_up
        self._current = self._made(state)

    @property
    def current(self) -> ModelAsOf[T]:
        """The model that answers now."""
        return self._current

    def follow(self, state: ItemState) -> None:
        """Make the model as of ``state``, let it answer once, and exchange it for the one before."""
        if self._current.state is not state:
            self._current = self._made(state)

    def _made(self, state: ItemState) -> ModelAsOf[T]:
        model = self._make(state)
        self._warm_up(model)
        return ModelAsOf(model, state)


class FollowedItems:
    """Keeps every live model of a replica at what the item log says. Safe to use from several threads."""

    def __init__(self, feed: ItemFeed, *, interval_s: float = POLL_INTERVAL_S) -> None:
        """Set it up; `start` starts the polling.

        Args:
            feed: The item log.
            interval_s: Seconds between two looks.
        """
        self._feed = feed
        self._lock = threading.Lock()
        self._models: WeakSet[LiveModel[object]] = WeakSet()
        self._failed: ItemState | None = None
        self._poller = Poller(self.refresh, interval_s=interval_s, name="item-log")

    @property
    def problem(self) -> str:
        """Why the item log could not be read at the last look; empty where it could."""
        return self._feed.problem

    def live(self, make: Callable[[ItemState], T], warm_up: Callable[[T], None]) -> LiveModel[T]:
        """Return a model that is followed for as long as somebody holds it.

        Args:
            make: Returns the model as of a state, from what was loaded; the same for the same state.
            warm_up: Runs one representative request; raises if the model cannot answer it.
        """
        with self._lock:
            model = LiveModel(make, warm_up, self._feed.current)
            self._models.add(model)  # type: ignore[arg-type]  # only `follow` is called on it
        return model

    def refresh(self) -> None:
        """Look again, and let every live model follow. Never raises: a model that cannot stays as it is."""
        self._feed.refresh()
        state = self._feed.current
        with self._lock:
            for model in tuple(self._models):
                try:
                    model.follow(state)
                except Exception:  # noqa: BLE001 - a defect must not end the following of later changes
                    if self._failed is not state:
                        self._failed = state
                        _LOG.exception("a model could not follow the item log to %d", state.revision)

    def start(self) -> None:
        """Poll from now on, in a thread that ends with the process or with `stop`."""
        self._poller.start()

    def stop(self) -> None:
        """End the polling."""
        self._poller.stop()
