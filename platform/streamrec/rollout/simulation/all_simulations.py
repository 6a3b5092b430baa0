"""All simulations together, on several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.contracts.progress import Progress, SilentProgress
from streamrec.rollout.simulation.detection import FAULTS, requests_to_detect
from streamrec.rollout.simulation.false_rollbacks import Rollout, World, one_rollout, worlds
from streamrec.rollout.simulation.made_traffic import UserKinds
from streamrec.rollout.simulation.result import Detected, SimulationResult
from streamrec.rollout.simulation.worse_outcomes import (
    LOSSES,
    OUTCOME,
    End,
    OutcomeRun,
    one_outcome_run,
)
from streamrec.stats.intervals import exact_share_interval

LEAST_ROLLOUTS: Final = 20
MOST_ROLLOUTS: Final = 1_000_000
_LEVEL: Final = 0.98
"""Of intervals: each bound is a one-sided one at 99 %."""

_ROLLOUTS_A_TASK: Final = 20
_OUTCOMES_A_TASK: Final = 50


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece of work for one process: ``kind`` says of which function, ``index`` of what."""

    kind: str
    index: int
    size: int
    seed: np.random.SeedSequence


def simulate(count: int, *, seed: int, processes: int, progress: Progress | None = None) -> SimulationResult:
    """Simulate rollouts through the real analysis.

    Args:
        count: Whole rollouts of an equal challenger. Beside them half as many of each fault, a quarter as
            many of a loss of exactly the margin, and a twentieth as many of other losses.
        seed: Of all draws; the result depends on it and ``count`` alone.
        processes: How many work beside each other.
        progress: Told after each piece of work.

    Raises:
        InvalidInputError: ``count`` or ``processes`` is out of bounds.
        RuntimeError: The real analysis does not find what was computed for all looks at once.
    """
    if not LEAST_ROLLOUTS <= count <= MOST_ROLLOUTS:
        raise InvalidInputError("rollouts", f"must be from {LEAST_ROLLOUTS} to {MOST_ROLLOUTS:,}")
    if not 1 <= processes <= 256:
        raise InvalidInputError("processes", "must be from 1 to 256")
    shown = progress or SilentProgress()
    began = time.monotonic()
    tasks = _tasks(count, seed)
    shown.start("Rollouts", len(tasks))
    done: dict[tuple[str, int], list[Any]] = {}
    for task, found in _worked(tasks, processes):
        done.setdefault((task.kind, task.index), []).append((tasks.index(task), found))
        shown.advance()
    shown.finish()
    # In the order of the tasks, whichever process was done first.
    whole = {
        key: [one for _, some in sorted(parts, key=_place) for one in some] for key, parts in done.items()
    }
    return _result(count, seed, whole, time.monotonic() - began)


def clustered_worlds() -> dict[str, World]:
    """Worlds in which all requests of one user in two hundred go wrong, whoever answers them.

    Users make three requests in a phase on average and at most 12; in the second world one in five hundred
    makes 60.
    """
    found = {}
    for name, heavy in (("at_most_12_requests", 0.0), ("some_with_60_requests", 0.002)):
        visits = np.arange(1.0, 13.0)
        weights = (2.0 / 3.0) ** visits
        requests = np.append(visits, 60.0)
        shares = np.append((1.0 - heavy) * weights / weights.sum(), heavy)
        broken = 0.005
        kinds = UserKinds(
            np.tile(requests, 2),
            np.concatenate((np.zeros_like(requests), requests)),
            np.concatenate(((1.0 - broken) * shares, broken * shares)),
        )
        found[name] = replace(worlds()[0], bursts=kinds)
    return found


def _tasks(count: int, seed: int) -> list[_Task]:
    sizes: list[tuple[str, int, int, int]] = [
        ("rollouts", index, count // len(worlds()) + (index < count % len(worlds())), _ROLLOUTS_A_TASK)
        for index in range(len(worlds()))
    ]
    sizes += [("detection", index, max(count // 2, 20), 250) for index in range(len(FAULTS))]
    sizes += [
        ("outcomes", index, max(count // (4 if loss == OUTCOME.margin else 20), 10), _OUTCOMES_A_TASK)
        for index, loss in enumerate(LOSSES)
    ]
    sizes += [
        ("clustered", index, max(count // 20, 5), _ROLLOUTS_A_TASK)
        for index in range(len(clustered_worlds()))
    ]
    pieces = [
        (kind, index, min(each, size - start))
        for kind, index, size, each in sizes
        for start in range(0, size, each)
    ]
    seeds = np.random.SeedSequence(seed).spawn(len(pieces))
    return [_Task(*piece, own) for piece, own in zip(pieces, seeds, strict=True)]


def _worked(tasks: Sequence[_Task], processes: int) -> Iterator[tuple[_Task, list[Any]]]:
    if processes == 1:
        for task in tasks:
            yield task, _work(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
        asked = {pool.submit(_work, task): task for task in tasks}
        try:
            for one in as_completed(asked):
                yield asked[one], one.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _work(task: _Task) -> list[Any]:
    rng = np.random.default_rng(task.seed)
    makers: dict[str, Callable[[], list[Any]]] = {
        "rollouts": lambda: [one_rollout(worlds()[task.index], rng) for _ in range(task.size)],
        "clustered": lambda: [
            one_rollout(tuple(clustered_worlds().values())[task.index], rng) for _ in range(task.size)
        ],
        "detection": lambda: requests_to_detect(FAULTS[task.index], task.size, rng).tolist(),
        "outcomes": lambda: [one_outcome_run(LOSSES[task.index], rng) for _ in range(task.size)],
    }
    return makers[task.kind]()


def _place(part: tuple[int, Any]) -> int:
    return part[0]


def _result(
    count: int, seed: int, done: dict[tuple[str, int], list[Any]], seconds: float
) -> SimulationResult:
    equal: list[Rollout] = [one for index in range(len(worlds())) for one in done["rollouts", index]]
    by = Counter(f"{one.phase.value}: {', '.join(one.harm)}" for one in equal if one.harm)
    outcomes = {loss: done["outcomes", index] for index, loss in enumerate(LOSSES)}
    detection = [_detected(index, done["detection", index]) for index in range(len(FAULTS))]
    detection += [_outcome(loss, runs) for loss, runs in outcomes.items() if loss > 0.0]
    return SimulationResult(
        rollouts=count,
        seed=seed,
        false_rollback=_rolled_back(equal),
        false_rollback_by=dict(sorted(by.items())),
        detection=tuple(detection),
        margin=OUTCOME.margin,
        wrongly_shown=_promoted(outcomes[OUTCOME.margin]),
        shown_when_equal=_promoted(outcomes[0.0]),
        clustered_false_rollback={
            name: _rolled_back(done["clustered", index]) for index, name in enumerate(clustered_worlds())
        },
        seconds=seconds,
    )


def _rolled_back(rollouts: Sequence[Rollout]) -> Interval:
    return exact_share_interval(sum(bool(one.harm) for one in rollouts), len(rollouts), confidence=_LEVEL)


def _promoted(runs: Sequence[OutcomeRun]) -> Interval:
    promoted = sum(run.end is End.PROMOTED for run in runs)
    return exact_share_interval(promoted, len(runs), confidence=_LEVEL)


def _detected(index: int, requests: Sequence[int]) -> Detected:
    fault = FAULTS[index]
    return Detected(
        fault=fault.name,
        size=fault.size,
        canary_requests_p50=_percentile(requests, 0.5),
        canary_requests_p95=_percentile(requests, 0.95),
        power=sum(taken > 0 for taken in requests) / len(requests),
        runs=len(requests),
        horizon=fault.horizon,
        bar_p50=fault.bar_p50,
        bar_p95=fault.bar_p95,
    )


def _outcome(loss: float, runs: Sequence[OutcomeRun]) -> Detected:
    requests = [run.requests if run.end is End.HARM else 0 for run in runs]
    return Detected(
        fault="outcome",
        size=loss,
        canary_requests_p50=_percentile(requests, 0.5),
        canary_requests_p95=_percentile(requests, 0.95),
        power=sum(taken > 0 for taken in requests) / len(runs),
        runs=len(runs),
        horizon=max(run.requests for run in runs),
        promoted=sum(run.end is End.PROMOTED for run in runs) / len(runs),
    )


def _percentile(requests: Sequence[int], share: float) -> int | None:
    """Requests within which that share of runs was found; None where fewer were found at all."""
    found = sorted(taken if taken > 0 else 2**62 for taken in requests)
    value = found[max(int(np.ceil(share * len(found))) - 1, 0)]
    return None if value == 2**62 else value
