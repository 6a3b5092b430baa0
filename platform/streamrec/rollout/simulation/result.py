"""What simulated rollouts have shown, held against what is demanded of the analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamrec.contracts.intervals import Interval
from streamrec.contracts.results import Reason, Result, Verdict, combined

SIMULATION_SCHEMA: Final = "streamrec.rollout_simulation.v1"

MOST_FALSE_ROLLBACKS: Final = 0.01
MOST_WRONGLY_SHOWN: Final = 0.05
ENOUGH_RUNS: Final = 1_000
"""Runs of a fault without which its percentiles are too uncertain to miss a bar."""


@dataclass(frozen=True, slots=True)
class Detected:
    """How soon a fault was found.

    Attributes:
        fault, size: Which.
        canary_requests_p50, canary_requests_p95: Requests of the challenger until it was rolled back; None
            where fewer runs than that were.
        power: Share of runs in which it was found within the horizon (of an outcome: the planned sample).
        runs: How many.
        horizon: Requests of the challenger after which a run is given up.
        bar_p50, bar_p95: What it may take at most; None where there is no bar.
        promoted: Of an outcome: the share of runs that went on to the last step; None of another fault.
    """

    fault: str
    size: float
    canary_requests_p50: int | None
    canary_requests_p95: int | None
    power: float
    runs: int
    horizon: int
    bar_p50: int | None = None
    bar_p95: int | None = None
    promoted: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """All that was simulated.

    Attributes:
        rollouts: Whole rollouts of equal versions.
        seed: Of all draws.
        false_rollback: Share of these that were rolled back; each bound is a one-sided 99 % one.
        false_rollback_by: Which criterion did it, and in which phase, with how many.
        detection: Faults, then worse outcomes.
        margin: Tolerated loss of the simulated plan.
        wrongly_shown: Share of challengers with a loss of exactly the margin that were promoted.
        shown_when_equal: Share of equal challengers that were.
        clustered_false_rollback: As ``false_rollback``, where the errors of some users repeat, which the
            tests do not allow for.
        seconds: How long it took.
    """

    rollouts: int
    seed: int
    false_rollback: Interval
    false_rollback_by: Mapping[str, int]
    detection: tuple[Detected, ...]
    margin: float
    wrongly_shown: Interval
    shown_when_equal: Interval
    clustered_false_rollback: Mapping[str, Interval]
    seconds: float

    @property
    def result(self) -> Result:
        """The figures with a verdict: ``passed`` where all bars are met, ``inconclusive`` where there are too
        few rollouts to say.
        """
        found = tuple(self._findings())
        verdict = combined([Verdict.PASSED, *(verdict for verdict, _ in found)])
        return Result(SIMULATION_SCHEMA, verdict, tuple(reason for _, reason in found), self._content())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with schema, verdict and reasons."""
        return self.result.to_json()

    def _content(self) -> dict[str, Any]:
        return {
            "rollouts": self.rollouts,
            "seed": self.seed,
            "false_rollback": self.false_rollback.to_json(),
            "false_rollback_by": dict(self.false_rollback_by),
            "detection": [one.to_json() for one in self.detection],
            "non_inferiority": {
                "margin": self.margin,
                "wrongly_shown": self.wrongly_shown.to_json(),
                "shown_when_equal": self.shown_when_equal.to_json(),
            },
            "users_whose_errors_repeat": {
                name: {"false_rollback": interval.to_json()}
                for name, interval in self.clustered_false_rollback.items()
            },
            "seconds": round(self.seconds, 1),
        }

    def _findings(self) -> Iterator[tuple[Verdict, Reason]]:
        yield from _share("false_rollback", self.false_rollback, MOST_FALSE_ROLLBACKS)
        yield from _share("non_inferiority.wrongly_shown", self.wrongly_shown, MOST_WRONGLY_SHOWN)
        for index, one in enumerate(self.detection):
            yield from _slow(f"detection.{index}", one)


def _share(path: str, seen: Interval, most: float) -> Iterator[tuple[Verdict, Reason]]:
    if seen.high <= most:
        return
    told = f"{seen.value:.2%} of {seen.n:,} (from {seen.low:.2%} to {seen.high:.2%}), at most {most:.0%} may"
    if seen.low > most:
        yield Verdict.FAILED, Reason("bar_missed", path, told)
    else:
        yield Verdict.INCONCLUSIVE, Reason("too_few_rollouts", path, f"{told}: simulate more rollouts")


def _slow(path: str, seen: Detected) -> Iterator[tuple[Verdict, Reason]]:
    pairs = (
        ("canary_requests_p50", seen.canary_requests_p50, seen.bar_p50),
        ("canary_requests_p95", seen.canary_requests_p95, seen.bar_p95),
    )
    for name, value, bar in pairs:
        if bar is None or (value is not None and value <= bar):
            continue
        told = f"{seen.fault} of {seen.size:g} took {value or 'more'} canary requests, {bar} are demanded"
        if seen.runs >= ENOUGH_RUNS:
            yield Verdict.FAILED, Reason("bar_missed", f"{path}.{name}", told)
        else:
            few = f"{told}, in {seen.runs} runs alone: simulate more rollouts"
            yield Verdict.INCONCLUSIVE, Reason("too_few_rollouts", f"{path}.{name}", few)
