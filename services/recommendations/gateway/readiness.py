"""Becoming ready: what the gateway needs before it answers, and what is still missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from services.recommendations.contracts.stages import WARM_UP_USER
from services.recommendations.gateway.event_intake import EventIntake
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.gateway.recommender import Recommender
from services.recommendations.gateway.schemas import Readiness
from streamrec.contracts.errors import DependencyError, NotReadyError, PermanentError, StreamRecError
from streamrec.features.store import FeatureStore, ItemCounts

_LOG = logging.getLogger(__name__)

_RETRY_S: Final = 0.1
_BLOCKED_RETRY_S: Final = 1.0


@dataclass(frozen=True)
class Gateway:
    """All that a ready gateway answers with.

    Attributes:
        recommender: Answers recommendation requests.
        intake: Takes events.
        readiness: Returns what ``/readyz`` says now.
        close: Writes down what is still queued and lets go of everything.
    """

    recommender: Recommender
    intake: EventIntake
    readiness: Callable[[], Readiness]
    close: Callable[[], Awaitable[None]]


class Startup:
    """Tries to compose a gateway until it works. Ready stays ready: what fails later is the ladder's."""

    def __init__(
        self,
        compose: Callable[[RecommendationMetrics], Awaitable[Gateway]],
        metrics: RecommendationMetrics | None = None,
    ) -> None:
        """Describe a start-up; nothing happens before `run`.

        Args:
            compose: Returns a gateway. Raises a `PermanentError` where something is missing or damaged,
                which a person must mend, and another `StreamRecError` where something does not answer yet.
            metrics: What it counts; of a gateway without a name where None.
        """
        self._compose = compose
        self.metrics = metrics or RecommendationMetrics()
        self.gateway: Gateway | None = None
        self.missing = "starting: the stages are being loaded"
        self.blocked = False
        """Whether waiting will not help: something does not exist."""
        self._settled = asyncio.Event()

    async def run(self) -> None:
        """Return when the gateway is ready."""
        while self.gateway is None:
            try:
                gateway = await self._compose(self.metrics)
            except StreamRecError as error:
                if str(error) != self.missing:
                    _LOG.warning("not ready: %s", error)
                await self._wait(str(error), blocked=isinstance(error, PermanentError))
            except Exception as error:  # noqa: BLE001 - the process must go on saying what is wrong with it
                _LOG.exception("not ready")
                await self._wait(f"starting failed: {type(error).__name__}: {error}", blocked=True)
            else:
                self._become_ready(gateway)

    async def settled(self) -> None:
        """Return when the gateway is ready, or is known to wait for what a person must bring."""
        await self._settled.wait()

    def _become_ready(self, gateway: Gateway) -> None:
        readiness = gateway.readiness()
        self.metrics.set_model_versions(readiness.model_versions)
        self.metrics.watch_catalogue(
            items=lambda: gateway.readiness().catalogue_items,
            revision=lambda: gateway.readiness().item_revision,
            readable=lambda: not gateway.readiness().item_log_problem,
        )
        self.gateway = gateway
        self.blocked = False
        self._settled.set()
        _LOG.info("ready: %s", readiness)

    async def _wait(self, missing: str, *, blocked: bool) -> None:
        self.missing = missing
        self.blocked = blocked
        if blocked:
            self._settled.set()
        await asyncio.sleep(_BLOCKED_RETRY_S if blocked else _RETRY_S)

    async def close(self) -> None:
        """Close the gateway if there is one."""
        gateway, self.gateway = self.gateway, None
        self.missing = "stopping"
        if gateway is not None:
            await gateway.close()


def open_features(open_store: Callable[[], FeatureStore]) -> tuple[FeatureStore, ItemCounts]:
    """Open the feature store; read its items, and one user so that the first one to come does not wait.

    Raises:
        NotReadyError: The catalogue is empty, or nothing has been materialised.
    """
    store = open_store()
    items = store.item_counts()
    if len(items.item_ids) == 0:
        raise NotReadyError("the catalogue is empty: import data and run 'streamrec features materialize'")
    try:
        store.user_features(WARM_UP_USER.user_id)
    except DependencyError:
        # Users are served like new ones until the store answers: no reason not to serve.
        _LOG.warning("the online store does not answer yet", exc_info=True)
    return store, items
