"""Cases 9 to 12 of what the platform must survive, as far as what serves decides them: a challenger breaks.

What a rollout makes of what is counted is the controller's; here it is that nobody sees anything of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from services.recommendations.contracts.stages import COLD_START, MODEL_NAMES, RANKING, RETRIEVAL, SLOTS
from services.recommendations.serving.application import GATEWAY
from streamrec.contracts.events import Impression
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.tallies import Answers as Counted
from streamrec.contracts.slots import ServingRole
from streamrec.events.reader import FileEventReader
from tests.failures.broken_ranking import break_as
from tests.failures.challengers import Trials, wait_for
from tests.failures.load import Answers, load_on
from tests.failures.parts import replicas
from tests.integration.serving.conftest import USER_COUNT, ServeProcess

CANARY_BP: Final = 1_000
RPS: Final = 30.0
LOOK_S: Final = 1.0
USERS: Final = [f"user-{row:02d}" for row in range(USER_COUNT)] + [f"unit-{row:03d}" for row in range(200)]
"""Known ones, and others who come again: a tenth of them is to be a fair number."""
SAID: Final = {"raises": ("raises",), "eats memory": ("allocate", "died"), "dies": ("died",)}
"""What a replica says of a version by how it breaks; without memory a library may end the process."""
CHAMPION: Final = ModelRef(MODEL_NAMES[RANKING], 1)


@dataclass(frozen=True)
class Seen:
    """What clients saw while something was broken, and what was counted meanwhile.

    Attributes:
        champions: Answers to users of the champion.
        challengers: Answers to users of the challenger.
        counted: Of the challenger.
    """

    champions: Answers
    challengers: Answers
    counted: Counted

    def said(self) -> str:
        """For a person."""
        return (
            f"\n  users of the champion: {self.champions.said()}"
            f"\n  users of the challenger: {self.challengers.said()}"
            f"\n  counted: {self.counted.asked} asked, {self.counted.failed} failed, "
            f"{self.counted.malformed} malformed, {self.counted.late} late"
        )


class TriedService:
    """A service with a ranker on trial, and the load on it."""

    def __init__(self, running: ServeProcess, trials: Trials, rps: float = RPS) -> None:
        self.running, self.trials, self.rps = running, trials, rps
        self.challenger = trials.register(RANKING)
        self.up_after_s = self._brought_up()

    def _brought_up(self) -> float:
        break_as(self.trials.files.folder)
        self.trials.name(RANKING, self.challenger)
        up_after_s = self.trials.wait_until_loaded(RANKING, self.challenger)
        self.trials.name(RANKING, self.challenger, CANARY_BP)
        time.sleep(LOOK_S)
        return up_after_s

    @contextmanager
    def load(self) -> Iterator[Any]:
        """A tenth of the load from users of the challenger, the rest from users of the champion."""
        share = CANARY_BP / 10_000
        folder, url = self.trials.folder, self.running.url
        with ExitStack() as both:
            yield tuple(
                both.enter_context(
                    load_on(url, folder, self.trials.users(RANKING, role, USERS), rps=rps, new_share=0.0)
                )
                for role, rps in (
                    (ServingRole.CHAMPION, (1.0 - share) * self.rps),
                    (ServingRole.CHALLENGER, share * self.rps),
                )
            )

    def counted(self) -> Counted:
        """Of the challenger, so far."""
        return self.trials.answers(RANKING, self.challenger, ServingRole.CHALLENGER)

    def broken_as(self, for_s: float, **how: Any) -> Seen:
        """Break the challenger for a while, under load, and mend it."""
        with self.load() as (champions, challengers):
            time.sleep(LOOK_S)
            before, began_s = self.counted(), time.monotonic()
            break_as(self.trials.files.folder, **how)
            time.sleep(for_s)
            answers = champions.finish().between(began_s), challengers.finish().between(began_s)
        break_as(self.trials.files.folder)
        time.sleep(2.0 * LOOK_S)
        seen = Seen(*answers, _difference(self.counted(), before))
        print(seen.said())
        return seen

    def impressions(self) -> list[Impression]:
        """All that was shown."""
        return list(FileEventReader(self.trials.folder / "events").snapshot().impressions)


def _difference(after: Counted, before: Counted) -> Counted:
    return Counted(
        after.asked - before.asked,
        after.failed - before.failed,
        after.malformed - before.malformed,
        after.late - before.late,
        after.degraded - before.degraded,
    )


def answers_nonsense(service: TriedService, way: str, for_s: float) -> Seen:
    """Case 10: caught at the first answer, and never shown."""
    seen = service.broken_as(for_s, answers=way)
    assert seen.champions.failed == seen.challengers.failed == []
    # After some it is left alone for a while, which counts as a failure.
    assert seen.counted.malformed >= 1
    assert seen.counted.wrong >= 0.9 * seen.counted.asked > 0
    check_slates(service)
    return seen


def fails_now_and_then(service: TriedService, share: float, for_s: float) -> Seen:
    """Case 11: every failure is counted, and none is seen."""
    seen = service.broken_as(for_s, errors=share)
    assert seen.champions.failed == seen.challengers.failed == []
    expected = share * seen.counted.asked
    assert abs(seen.counted.failed - expected) <= 1.0 + 0.2 * expected
    return seen


def is_slow(service: TriedService, for_s: float) -> tuple[Seen, Seen]:
    """Case 12: counted as late; the champion's users wait no longer than with a challenger that is well."""
    well = service.broken_as(for_s)
    slow = service.broken_as(for_s, slow_s=0.2)
    for seen in (well, slow):
        assert seen.champions.failed == seen.challengers.failed == []
    assert slow.counted.wrong >= 0.9 * slow.counted.asked > 0
    assert well.counted.wrong <= 0.1 * well.counted.asked
    return well, slow


def cannot_be_loaded(service: TriedService, loads: str) -> Answers:
    """Case 9: the reason is said, and nobody fails."""
    champions = replicas(service.running, GATEWAY)
    broken = service.trials.register(RANKING)
    with service.load() as (load, _):
        time.sleep(LOOK_S)
        break_as(service.trials.files.folder, loads=loads)
        revision = service.trials.name(RANKING, broken)

        def has_said() -> bool:
            beat = service.trials.challenger(RANKING, revision)
            return beat is not None and any(word in beat.problem.lower() for word in SAID[loads])

        began_s = time.monotonic()
        wait_for(has_said, f"the challenger's replica says one of {SAID[loads]}")
        print(f"\n  said after {time.monotonic() - began_s:.1f} s")
        answers: Answers = load.finish()
    print(f"  {answers.said()}")
    assert answers.failed == []
    assert replicas(service.running, GATEWAY) == champions
    service._brought_up()
    return answers


def becomes_champion(service: TriedService) -> Answers:
    """The challenger becomes champion under load: nobody fails, nobody gets a mixture."""
    trials, challenger = service.trials, service.challenger
    with service.load() as (load, others):
        time.sleep(LOOK_S)
        trials.publish({RANKING: {"weight_bp": 10_000}}, prepare=(challenger,))
        trials.wait_until_loaded(RANKING, challenger, ServingRole.CHAMPION)
        trials.publish(
            {RANKING: {"champion": challenger, "challenger": None, "weight_bp": 0, "holder": None}}
        )
        time.sleep(5.0)
        answers: Answers = load.finish()
        assert others.finish().failed == []
    print(f"\n  {answers.said()}")
    assert answers.failed == []
    last = service.impressions()[-1]
    assert last.versions[SLOTS[RANKING]] == str(challenger)
    check_slates(service)
    return answers


def check_slates(service: TriedService) -> None:
    """Every slate that was shown is whole, and under one revision everybody of a bundle has one set."""
    shown = service.impressions()
    assert shown
    sets: dict[tuple[int | None, ServingRole], set[tuple[str | None, str | None]]] = {}
    for impression in shown:
        assert len(set(impression.item_ids)) == len(impression.item_ids) > 0
        pair = tuple(impression.versions.get(SLOTS[stage]) for stage in (RETRIEVAL, COLD_START))
        if None not in pair:
            sets.setdefault((impression.traffic_revision, impression.role), set()).add(pair)  # type: ignore[arg-type]
    assert all(len(pairs) == 1 for pairs in sets.values())
