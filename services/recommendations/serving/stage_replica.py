"""What the four stage deployments share: a model slot that is filled at start, and says so when it is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from services.recommendations.contracts.stages import StageStatus
from services.recommendations.serving.model_source import ModelSource
from streamrec.contracts.errors import NotReadyError
from streamrec.serving.slot import FetchedModel, LoadedModel, ModelSlot

_LOG = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0

T = TypeVar("T")


class StageReplica(Generic[T]):
    """Loads the champion of one model. If there is none it keeps trying, so that a model that is registered
    later is served without a restart; until then every call is refused.
    """

    def __init__(
        self,
        source: ModelSource,
        name: str,
        load: Callable[[FetchedModel], T],
        warm_up: Callable[[T], None],
    ) -> None:
        self._slot = ModelSlot(source.open(), name, load, warm_up=warm_up)
        self._stopped = threading.Event()
        if not self._try_load():
            threading.Thread(target=self._load_later, name=f"load-{name}", daemon=True).start()

    def current(self) -> LoadedModel[T]:
        """Return model and version. Raises `NotReadyError` before one is loaded."""
        return self._slot.current()

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
