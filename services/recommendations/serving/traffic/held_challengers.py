"""Keeps replicas for the challengers that the traffic document names, and for no others.

Their deployments scale to zero. A call that only waits, one for each challenger that is named, is what brings
a replica up and holds it; when the document names none any more the call ends, and Ray Serve stops the
replica after a while. Nothing is deployed anew for that: a redeploy of a running graph drops requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

_LOG = logging.getLogger(__name__)

HOLD_S: Final = 10.0
_LOOK_INTERVAL_S: Final = 0.5
_PAUSE_S: Final = 1.0


class HeldChallengers:
    """One waiting call for each stage with a challenger. For one event loop."""

    def __init__(
        self,
        named: Callable[[], Collection[str]],
        hold: Callable[[str, float], Awaitable[None]],
        *,
        look_interval_s: float = _LOOK_INTERVAL_S,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """Nothing is held before `start`.

        Args:
            named: Stages for which the document in force names a challenger.
            hold: Has a replica of a stage for so many seconds; returns after them.
            look_interval_s: Seconds between two looks at ``named``.
            pause_s: Seconds before another call after one that failed.
        """
        self._named, self._hold = named, hold
        self._look_interval_s, self._pause_s = look_interval_s, pause_s
        self._held: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a call is under way for."""
        return tuple(sorted(self._held))

    def start(self) -> None:
        """Follow what is named from now on."""
        self._looking = asyncio.create_task(self._look_for_ever(), name="hold-challengers")

    async def stop(self) -> None:
        """Hold none any more."""
        tasks = [*self._held.values(), *([self._looking] if self._looking is not None else [])]
        self._held = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            named = frozenset(self._named())
            for stage in self._held.keys() - named:
                self._held.pop(stage).cancel()
            for stage in sorted(named - self._held.keys()):
                self._held[stage] = asyncio.create_task(self._hold_for_ever(stage), name=f"hold-{stage}")
            await asyncio.sleep(self._look_interval_s)

    async def _hold_for_ever(self, stage: str) -> None:
        failing = False
        while True:
            try:
                await self._hold(stage, HOLD_S)
                failing = False
            except Exception as error:  # noqa: BLE001 - whatever became of the replica, another one is wanted
                if not failing:
                    _LOG.warning("the challenger of %s has no replica: %s", stage, error)
                failing = True
                await asyncio.sleep(self._pause_s)
