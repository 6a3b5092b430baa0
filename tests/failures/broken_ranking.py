"""A challenger of the ranker that breaks as a file says, for tests of what the service does about it.

The file lies in the folder of the traffic document and is read with every call, so that one service can be
broken in every way, one after the other. Champions are as they are.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.stages import StageReply
from services.recommendations.serving import stage_deployments, stage_messages, stage_replicas
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_deployments import RankingDeployment
from streamrec.files.durable_files import write_atomically

FILE: Final = "broken_ranking.json"
SLOW_S: Final = 0.2
_PIECE_BYTES: Final = 64 * 1024 * 1024


def break_as(traffic_folder: Path, **how: Any) -> None:
    """Break it from now on: ``answers`` (see `_SPOILED`), ``errors`` (a share), ``slow_s``, ``loads``."""
    write_atomically(traffic_folder / FILE, json.dumps(how).encode())


def _how(traffic_folder: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads((traffic_folder / FILE).read_text())
    except FileNotFoundError:
        return {}
    return read


def _with_first(scores: np.ndarray, value: float) -> np.ndarray:
    changed = scores.copy()
    changed[0] = value
    return changed


_SPOILED: Final[dict[str, Callable[[Candidates], Candidates]]] = {
    "nan": lambda found: Candidates(found.item_ids, _with_first(found.scores, np.nan)),
    "inf": lambda found: Candidates(found.item_ids, _with_first(found.scores, np.inf)),
    "wrong length": lambda found: Candidates(found.item_ids[:-1], found.scores[:-1]),
    "duplicates": lambda found: Candidates((found.item_ids[0],) * len(found), found.scores),
    "nothing": lambda found: Candidates((), found.scores[:0]),
}
WAYS: Final = (*_SPOILED, "no message")


class BrokenRanking(RankingDeployment):
    """Answers as the ranker does; as a challenger, as the file says."""

    def __init__(
        self, source: ModelSource, item_log: Path | None, challenger_memory_bytes: int | None = None
    ) -> None:
        self._folder = source.traffic.folder
        self._is_challenger = challenger_memory_bytes is not None
        self._calls = 0
        if self._is_challenger:
            _break_loading(self._folder)
        super().__init__(source, item_log, challenger_memory_bytes)

    async def _answered(self, message: bytes, waited_ms: float) -> bytes:
        how = _how(self._folder) if self._is_challenger else {}
        self._calls += 1
        started_s = time.perf_counter()
        await asyncio.sleep(how.get("slow_s", 0.0))
        if how.get("hangs"):
            time.sleep(3600.0)  # noqa: ASYNC251 - the whole loop hangs, which is the injection
        if how.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        # Every tenth call of ten fails at a share of 0.1, whatever the order.
        share = how.get("errors", 0.0)
        if int(self._calls * share) > int((self._calls - 1) * share):
            raise RuntimeError("the challenger fails now and then")
        answers = how.get("answers")
        if answers == "no message":
            return b"\xc1"
        waited_ms += 1000.0 * (time.perf_counter() - started_s)
        if answers is None:
            return await super()._answered(message, waited_ms)
        user, candidates, version = stage_messages.unpack_rank(message)
        reply = await self._replica.rank(user, candidates, version)
        spoiled = StageReply(_SPOILED[answers](reply.candidates), reply.version, model_ms=reply.model_ms)
        return stage_messages.pack_reordered(spoiled, candidates, waited_ms)


def _break_loading(traffic_folder: Path) -> None:
    whole = stage_replicas.load_ranker

    def load(fetched: Any) -> Any:
        how = _how(traffic_folder).get("loads")
        if how == "raises":
            raise RuntimeError("the constructor of the model raises")
        if how == "eats memory":
            eaten = []
            while True:  # until an allocation fails; every byte is written to
                eaten.append(np.ones(_PIECE_BYTES // 8))
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(fetched)

    stage_replicas.load_ranker = load


def install() -> None:
    """Let services that this process starts from now on have it."""
    stage_deployments.RankingDeployment = BrokenRanking  # type: ignore[misc]
