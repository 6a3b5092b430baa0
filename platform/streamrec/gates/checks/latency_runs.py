"""Measuring for the latency gate: candidate and champion in turns, a process each."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.gates.checks.latency import LatencyEvidence, Timings, in_turns
from streamrec.gates.contenders import Contender
from streamrec.gates.request_table import shown_to_predictor
from streamrec.gates.runner import Enforcement, GateRunner, GateTask, GateTaskResult, SandboxLimits

TIME_REQUESTS: Final = "streamrec.gates.programs.time_requests:time_requests"
_DIFFERENT_REQUESTS: Final = 200


@dataclass(frozen=True, slots=True)
class Turns:
    """How long is measured.

    Attributes:
        rounds: Turns of each version.
        warm_up: Requests at the beginning of a turn that are not counted.
        at_least, at_most: Requests of a turn that are: how many depends on `seconds`.
        seconds: Of a turn, between the two.
    """

    rounds: int = 2
    warm_up: int = 20
    at_least: int = 150
    at_most: int = 300
    seconds: float = 1.2


DEFAULT_TURNS: Final = Turns()


def collect_latency(
    candidate: Contender,
    champion: Contender | None,
    requests: pd.DataFrame,
    runner: GateRunner,
    limits: SandboxLimits,
    turns: Turns = DEFAULT_TURNS,
) -> LatencyEvidence:
    """Time both versions in one run.

    Args:
        candidate, champion: The versions; None where none serves.
        requests: Validation rows; some of them are asked, one at a time.
        runner: Where they run.
        limits: What each process may use.
        turns: How long is measured.
    """
    measured = None if champion is None or champion.problem else champion
    contenders = {"candidate": candidate} | ({} if measured is None else {"champion": measured})
    runs: dict[str, list[GateTaskResult]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory(prefix="streamrec-latency-") as temporary:
        written = Path(temporary) / "requests.parquet"
        some = requests.sample(min(len(requests), _DIFFERENT_REQUESTS), random_state=0)
        shown_to_predictor(some).to_parquet(written, index=False)
        for number, name in enumerate(in_turns("candidate", "champion" if measured else None, turns.rounds)):
            if runs[name] and not runs[name][-1].completed:
                continue  # it does not get better by being asked again
            output = Path(temporary) / f"output-{number}"
            output.mkdir()
            contender = contenders[name]
            arguments = {
                "predictor": contender.specification.predictor,
                "warm_up": turns.warm_up,
                "at_least": turns.at_least,
                "at_most": turns.at_most,
                "seconds": turns.seconds,
            }
            runs[name].append(
                runner.run(
                    GateTask(
                        TIME_REQUESTS,
                        arguments,
                        contender.inputs(written),
                        output,
                        limits,
                        contender.import_paths,
                    )
                )
            )
    every = [run for of_one in runs.values() for run in of_one]
    return LatencyEvidence(
        subject=candidate.subject,
        candidate=_timings(candidate, runs["candidate"]),
        champion=None if champion is None else _timings(champion, runs.get("champion", [])),
        enforcement=Enforcement.weakest(*(run.enforcement for run in every)),
    )


def _timings(contender: Contender, runs: list[GateTaskResult]) -> Timings:
    problem = contender.problem or next((run.problem for run in runs if not run.completed), "")
    times, references = [], []
    for run in runs:
        times.append(_numbers(run.answer.get("times_ms")))
        references.append(_numbers(run.answer.get("reference_ms")))
    nothing = np.array([], dtype=np.float64)
    times_ms, reference_ms = np.concatenate([nothing, *times]), np.concatenate([nothing, *references])
    if not problem and (len(times_ms) == 0 or len(times_ms) != len(reference_ms)):
        problem = "its process did not say how long its requests took"
    queued = [run.answer.get("queued_ms") for run in runs]
    return Timings(
        ref=contender.subject,
        queued_ms=float(sum(one for one in queued if isinstance(one, float | int))),
        times_ms=times_ms,
        reference_ms=reference_ms,
        peak_memory_bytes=max((run.peak_memory_bytes for run in runs), default=0),
        problem=problem,
    )


def _numbers(told: Any) -> NDArray[np.float64]:
    """Times as an untrusted process told them: positive numbers, or nothing."""
    if not isinstance(told, list) or not all(
        isinstance(one, float | int) and not isinstance(one, bool) and 0.0 < one < float("inf")
        for one in told
    ):
        return np.array([], dtype=np.float64)
    return np.array(told, dtype=np.float64)
