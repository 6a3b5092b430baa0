"""kill -9 of the process that drives a rollout, at one place after the other, for tests.

The places are all those where something becomes lasting: before and after each append to the ledger, each
line of the traffic history, and each publication of the traffic document. Nothing else survives the process.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.documents.publisher import DocumentPublisher
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.served import served
from streamrec.ledger.sql_ledger import SqlLedger
from streamrec.ledger.verification import verify
from streamrec.rollout.driving import traffic_document
from tests.rolled_out import ANA, NOON, RANKING, Platform

FIRST, SECOND = ModelRef("ranking", 1), ModelRef("ranking", 2)


@dataclass(frozen=True)
class Base:
    """A workspace in which a rollout was started and nobody has driven it yet."""

    folder: Path
    platform: Platform
    rollout: str


def _ledger(folder: Path) -> SqlLedger:
    return SqlLedger.in_file(folder / "ledger.sqlite", clock=lambda: NOON)


def base(folder: Path, plan: RolloutPlan) -> Base:
    """Make one."""
    platform = Platform(folder, ledger=_ledger(folder), in_files=True)
    platform.writer.promote([platform.register("ranking")], actor="ana")
    state = platform.controller.start([platform.register("ranking")], plan, ANA)
    platform.ledger.close()
    return Base(folder, platform, state.rollout)


class Places:
    """Counts places where a process may die, and kills it at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.passed, self.kill_at = 0, kill_at

    def __call__(self) -> None:
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            self()
            found = function(*args, **kwargs)
            self()
            return found

        return instead


def copied(made: Base, folder: Path) -> Base:
    """The same workspace in another folder, to be driven once."""
    shutil.copytree(made.folder, folder, ignore=shutil.ignore_patterns("artifact-*", "cache"))
    return Base(folder, made.platform, made.rollout)


def opened(made: Base, ledger: Ledger, life: int, minutes: float) -> Platform:
    """The workspace as a process sees it that starts ``minutes`` after noon."""
    platform = Platform(made.folder, ledger=ledger, in_files=True, now=NOON + timedelta(minutes=minutes))
    platform.registry = made.platform.registry
    platform.controller = platform.new_controller()
    platform.life = life
    platform.gateway.name = f"gateway-{life}"
    platform.replicas_of("ranking")
    return platform


def drive(
    made: Base, life: int, minutes: float, wrong: Sequence[ModelRef], kill_at: int | None
) -> tuple[int, float]:
    """Drive until the rollout is over and traffic has followed, in a process of its own.

    Returns:
        How many places it passed (what it had passed when it was killed is not known: -1), and how many
        minutes after noon it was last alive.
    """
    alive = made.folder / "alive"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            places = Places(kill_at)
            ledger = _ledger(made.folder)
            ledger.append_all = places.around(ledger.append_all)
            DocumentPublisher.publish = places.around(DocumentPublisher.publish)
            traffic_document.append_change = places.around(traffic_document.append_change)
            platform = opened(made, ledger, life, minutes)
            platform.wrong = set(wrong)
            quiet = 0
            for _ in range(60):
                report = platform.pass_time(30.0, 1_000)
                alive.write_text(str((platform.now - NOON).total_seconds() / 60.0))
                is_over = platform.controller.book.get(made.rollout).phase.is_over
                quiet = quiet + 1 if is_over and not report.transitions else 0
                if quiet == 2:
                    (made.folder / "passed").write_text(str(places.passed))
                    status = 0
                    break
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    was_killed = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
    if not was_killed and os.WEXITSTATUS(ended) != 0:
        pytest.fail(f"the process that drove ended with {os.WEXITSTATUS(ended)}")
    last = float(alive.read_text()) if alive.exists() else minutes
    return (-1 if was_killed else int((made.folder / "passed").read_text())), last


def places_of(made: Base, folder: Path, wrong: Sequence[ModelRef]) -> int:
    """How many places a whole rollout passes."""
    passed, _ = drive(copied(made, folder), 1, 1.0, wrong, None)
    return passed


def killed_and_driven_on(
    made: Base,
    folder: Path,
    place: int,
    *,
    wrong: Sequence[ModelRef] = (),
    between: Callable[[Platform], object] | None = None,
) -> tuple[RolloutState, dict[str, ModelRef]]:
    """Kill the driver at a place, let somebody do something, and let another one drive on.

    Returns:
        Where the rollout stands in the end, and what serves.
    """
    made = copied(made, folder)
    passed, minutes = drive(made, 1, 1.0, wrong, place)
    assert passed == -1, f"place {place} was not reached"
    ledger = _ledger(made.folder)
    if between is not None:
        between(opened(made, ledger, 2, minutes + 0.5))
    drive(made, 3, minutes + 1.0, wrong, None)
    platform = Platform(made.folder, ledger=ledger, in_files=True, now=NOON + timedelta(days=1))
    state = platform.controller.book.get(made.rollout)
    check_told(platform, state)
    serving = platform.serving()
    ledger.close()
    shutil.rmtree(made.folder)
    return state, serving


def check_told(platform: Platform, state: RolloutState) -> None:
    """The ledger is whole, says what serves, and every promotion rests on an analysis that passed."""
    assert verify(platform.ledger.stored()).bad is None
    told = served(platform.ledger, RANKING, platform.now)
    assert told is not None
    assert {RANKING: told.version} == platform.serving()
    history = platform.controller.book.history(state.rollout)
    assert [one.state.number for one in history] == list(range(1, len(history) + 1))
    for one in history:
        goes_on = one.state.phase in (RolloutPhase.CANARY, RolloutPhase.WATCH) and one.state.number > 2
        if goes_on and one.request is None:
            assert one.analysis is not None
            assert one.analysis["verdict"] == "passed"
    watched = next((one.entry.seq for one in history if one.state.phase is RolloutPhase.WATCH), None)
    for entry in platform.ledger.entries(kinds=[EntryKind.TRAFFIC_CHANGED]):
        if platform.ledger.evidence(entry.evidence_digest)["after"].get(RANKING) == str(SECOND):
            assert watched is not None
            assert entry.seq > watched
    slot = platform.traffic.slots[RANKING]
    assert (slot.challenger, slot.weight_bp, slot.holder) == (None, 0, None)
