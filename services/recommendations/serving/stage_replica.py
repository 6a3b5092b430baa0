"""What the four stage deployments share: a model slot that is filled at start, and says so when it is not.

What answers is a function of two things that change apart: the version in the slot, and the items that were
put and removed since the import.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from services.recommendations.contracts.stages import StageStatus
from services.recommendations.serving.model_source import ModelSource
from streamrec.contracts.errors import NotReadyError
from streamrec.items.follower import ItemFollower
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.serving.live_models import FollowedItems, LiveModel
from streamrec.serving.slot import FetchedModel, ModelSlot

_LOG = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answering(Generic[T]):
    """What answers now. Hold on to one during a request: model, version and items stay together.

    Attributes:
        model: Answers.
        version: Its registered version.
        item_revision: Of the item log that it has followed.
    """

    model: T
    version: int
    item_revision: int


class StageReplica(Generic[T]):
    """Loads the champion of one model. If there is none it keeps trying, so that a model that is registered
    later is served without a restart; until then every call is refused.
    """

    def __init__(
        self,
        source: ModelSource,
        name: str,
        load: Callable[[FetchedModel], Callable[[ItemState], T]],
        warm_up: Callable[[T], None],
        item_log: Path | None,
    ) -> None:
        """Load the champion, and follow the items.

        Args:
            source: Where the model is.
            name: Its registered name.
            load: Loads an artifact; returns what makes the model as of an item state.
            warm_up: Runs one representative request; raises if the model cannot answer it.
            item_log: Where items are put and removed; None: the model keeps to those it was trained on.
        """
        self._items = FollowedItems(MemoryItemLog() if item_log is None else ItemFollower(item_log))

        def load_live(fetched: FetchedModel) -> LiveModel[T]:
            return self._items.live(load(fetched), warm_up)

        self._slot = ModelSlot(source.open(), name, load_live, warm_up=_is_warm)
        if item_log is not None:
            self._items.start()
        self._stopped = threading.Event()
        if not self._try_load():
            threading.Thread(target=self._load_later, name=f"load-{name}", daemon=True).start()

    def current(self) -> Answering[T]:
        """Return model, version and item revision. Raises `NotReadyError` before a model is loaded."""
        loaded = self._slot.current()
        live = loaded.model.current
        return Answering(live.model, loaded.ref.version, live.state.revision)

    async def status(self) -> StageStatus:
        """Say whether a model is loaded."""
        version = self._slot.version
        if version is not None:
            return StageStatus(self._slot.name, version.ref.version, "")
        return StageStatus(self._slot.name, None, str(self._slot.last_error or "still loading"))

    def _try_load(self) -> bool:
        try:
            self._slot.refresh()
        except NotReadyError:
            _LOG.exception("model %s is not served yet", self._slot.name)
            return False
        return True

    def _load_later(self) -> None:
        pause_s = _FIRST_RETRY_S
        while not self._stopped.wait(pause_s):
            if self._try_load():
                return
            pause_s = min(2 * pause_s, _LONGEST_RETRY_S)


def _is_warm(_model: LiveModel[T]) -> None:
    """A live model has answered its warm-up before it is there, and does so with every change of items."""
