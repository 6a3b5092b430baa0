"""What the four stages share: a replica that follows the traffic document and the item log.

What answers is a function of two things that change apart: the version that a request names, and the items
that were put and removed since the import.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from services.recommendations.contracts.stages import MODEL_NAMES, StageStatus
from services.recommendations.serving.model_source import ModelSource
from streamrec.contracts.errors import NotReadyError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.items.follower import ItemFollower
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.serving.live_models import FollowedItems, LiveModel
from streamrec.serving.loaded_versions import FetchedModel
from streamrec.serving.replica import ModelReplica

_WAIT_S: Final = 0.2
_REFUSAL_DELAY_S: Final = 0.05
_CHALLENGER_PATIENCE_S: Final = 60.0

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
    """Answers with the version that a request names; the gateway names the same for a request's whole life.

    It loads what is promoted when it is made, and what is promoted later beside what it has. Where a version
    is missing, it refuses every call that asks for it.
    """

    def __init__(
        self,
        source: ModelSource,
        stage: str,
        load: Callable[[FetchedModel], Callable[[ItemState], T]],
        warm_up: Callable[[T], None],
        item_log: Path | None,
        role: ServingRole = ServingRole.CHAMPION,
    ) -> None:
        """Load the champion, and follow traffic and items.

        Args:
            source: Where the models are.
            stage: Which stage this is.
            load: Loads an artifact; returns what makes the model as of an item state.
            warm_up: Runs one representative request; raises if the model cannot answer it.
            item_log: Where items are put and removed; None: the model keeps to those it was trained on.
            role: Whose requests it takes. One of challengers loads in another thread: what it loads may hang,
                and it is to say so.
        """
        self._stage, self._role = stage, role
        self._items = FollowedItems(MemoryItemLog() if item_log is None else ItemFollower(item_log))

        def load_live(fetched: FetchedModel) -> LiveModel[T]:
            return self._items.live(load(fetched), warm_up)

        self._replica: ModelReplica[LiveModel[T]] = source.open_replica(stage, load_live, _is_warm, role)
        if item_log is not None:
            self._items.start()
        if role is ServingRole.CHAMPION:
            self._replica.follow()
        self._replica.start()

    def wait_until_loaded(self) -> None:
        """Return when the champion is loaded, or where there is none.

        For a replica that others send requests to: one that fails fast would attract them all. One of
        challengers is waited for a minute at most, or until it says what is wrong: it fails its own requests
        alone, and who starts it again and again would not mend it.
        """
        if self._role is ServingRole.CHAMPION:
            while self._replica.champion is not None and not self._is_loaded():
                time.sleep(_WAIT_S)
            return
        until_s = time.monotonic() + _CHALLENGER_PATIENCE_S
        while time.monotonic() < until_s and not (self._replica.is_complete or self._replica.problem):
            time.sleep(_WAIT_S)

    def close(self) -> None:
        """Follow no more, and take the heartbeat away."""
        self._items.stop()
        self._replica.stop()

    async def current(self, version: int) -> Answering[T]:
        """Return the model of a version, and its item revision.

        Raises:
            NotReadyError: It is not loaded. Raised after a while: who refuses at once seems idle to Ray
                Serve, which would then send it everything.
        """
        try:
            live = self._replica.get(ModelRef(MODEL_NAMES[self._stage], version)).model.current
        except NotReadyError:
            await asyncio.sleep(_REFUSAL_DELAY_S)
            raise
        return Answering(live.model, version, live.state.revision)

    async def status(self) -> StageStatus:
        """Say whether the champion is loaded."""
        champion = self._replica.champion
        loaded = champion is not None and self._is_loaded()
        return StageStatus(
            MODEL_NAMES[self._stage],
            champion.version if champion is not None and loaded else None,
            "" if loaded else self._replica.problem or "still loading",
        )

    def _is_loaded(self) -> bool:
        return self._replica.champion in self._replica.loaded


def _is_warm(_model: LiveModel[T]) -> None:
    """A live model has answered its warm-up before it is there, and does so with every change of items."""
