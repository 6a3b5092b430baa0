"""Gates that run because somebody asked for versions: one deployment after the other, beside the requests.

What a deployment decides is in the ledger. What is kept here is how it goes: it is gone with the process, and
nothing is lost by that but the view of it.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from streamrec.command_line.decisions.deploying import Deployed
from streamrec.contracts.errors import NotFoundError, OverloadedError, StreamRecError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.progress import Progress
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.governance.deployment import Actor

_LOG = logging.getLogger(__name__)

MAXIMUM_WAITING: Final = 16
MAXIMUM_KEPT: Final = 200
MAXIMUM_LINES: Final = 500

Judge = Callable[[Actor, Sequence[ModelRef], Progress], Sequence[Deployed]]
Then = Callable[[Sequence[Deployed]], RolloutState | None]
"""What follows once the gates have spoken; returns the rollout that it started."""


class DeploymentStage(StrEnum):
    """Where a deployment stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    """The gates have spoken; what they said is in ``models``."""
    FAILED = "failed"
    """They could not be run, or what they found could not be written down."""


@dataclass
class Deployment:
    """One request for versions.

    Attributes:
        number: Its name here.
        models: The versions.
        by: Who asked.
        stage: Where it stands.
        lines: What has happened, a line each; the newest `MAXIMUM_LINES`.
        models_found: By version: its standing, the next step, and what the gates found.
        rollout: The rollout that was started; None where none was.
        problem: Why it failed, or why no rollout was started; empty where nothing went wrong.
    """

    number: int
    models: tuple[str, ...]
    by: str
    stage: DeploymentStage = DeploymentStage.WAITING
    lines: list[str] = field(default_factory=list)
    models_found: list[dict[str, Any]] = field(default_factory=list)
    rollout: RolloutState | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "number": self.number,
            "models": list(self.models),
            "by": self.by,
            "stage": self.stage.value,
            "lines": list(self.lines),
            "found": list(self.models_found),
            "rollout": None if self.rollout is None else self.rollout.rollout,
            "problem": self.problem,
        }


class Deployments:
    """Runs deployments one after the other. Safe to use from several threads."""

    def __init__(self, judge: Judge) -> None:
        """Nothing runs yet."""
        self._judge = judge
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gates")
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[int, Deployment] = OrderedDict()

    def submit(self, by: Actor, refs: Sequence[ModelRef], then: Then) -> Deployment:
        """Run the gates over versions as soon as those before are done.

        Args:
            by: Who asks, and why.
            refs: The versions.
            then: What follows where the gates have spoken.

        Raises:
            OverloadedError: Too many wait already.
        """
        with self._lock:
            open_ones = (DeploymentStage.WAITING, DeploymentStage.RUNNING)
            waiting = sum(one.stage in open_ones for one in self._kept.values())
            if waiting >= MAXIMUM_WAITING:
                raise OverloadedError(f"{waiting} deployments wait for their gates: ask again later")
            deployment = Deployment(next(self._numbers), tuple(map(str, refs)), by.identity.actor)
            self._kept[deployment.number] = deployment
            while len(self._kept) > MAXIMUM_KEPT:
                self._kept.popitem(last=False)
        self._pool.submit(self._run, deployment, by, tuple(refs), then)
        return deployment

    def get(self, number: int) -> Deployment:
        """One that was asked for since this process began.

        Raises:
            NotFoundError: There is none.
        """
        with self._lock:
            if number not in self._kept:
                raise NotFoundError(
                    f"there is no deployment {number} since the control plane began: the ledger has what it "
                    "decided (streamrec ledger show)"
                )
            return self._kept[number]

    def close(self) -> None:
        """Run none of those that wait; the one that runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, deployment: Deployment, by: Actor, refs: Sequence[ModelRef], then: Then) -> None:
        deployment.stage = DeploymentStage.RUNNING
        try:
            found = self._judge(by, refs, _Lines(deployment.lines))
            deployment.models_found = [_of_model(one) for one in found]
            deployment.rollout = then(found)
        except StreamRecError as error:
            deployment.problem = str(error)
            judged = bool(deployment.models_found)
            deployment.stage = DeploymentStage.DONE if judged else DeploymentStage.FAILED
            return
        except Exception:  # noqa: BLE001 - a defect must not leave somebody waiting for ever
            _LOG.exception("deployment %d failed", deployment.number)
            deployment.problem = "something went wrong in the control plane; its log says what"
            deployment.stage = DeploymentStage.FAILED
            return
        deployment.stage = DeploymentStage.DONE


class _Lines:
    """Implements `Progress`: each piece of work is a line when it begins and one when it ends."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self._description = lines, ""

    def start(self, description: str, total: int) -> None:
        """See `Progress.start`."""
        del total
        self._description = description

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing is said of a step."""

    def finish(self, note: str = "") -> None:
        """See `Progress.finish`."""
        self._lines.append(f"{self._description}: {note}" if note else self._description)
        del self._lines[:-MAXIMUM_LINES]


def _of_model(one: Deployed) -> dict[str, Any]:
    return {
        "model": str(one.found.ref),
        "verdict": one.report.verdict.value,
        "standing": one.found.standing.value,
        "next": one.found.way_back,
        "marks": list(one.found.marks),
        "gates": one.report.to_json(),
    }
