"""The latency gate: the 99th percentile and the memory against the limits, measured beside the champion.

Both versions are asked one request after another, in turns of a process each (candidate, champion, champion,
candidate, ...), so that what the machine does meanwhile happens to both. The percentile is bounded by order
statistics (David and Nagaraja 2003, "Order Statistics", sec. 7.1), which need no distribution. What a
process waits for a free core does not count: other processes are not the version's. After every request a
small computation of known size is timed in the same way: where that is slow now and then, something else
disturbs, and the worst moments are not the version's either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from streamrec.contracts.results import Reason, Result
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import MEBIBYTE, LatencyLimits
from streamrec.gates.gate_results import gate_result, reason
from streamrec.gates.runner import Enforcement

PERCENTILE: Final = 0.99
_BUSY: Final = 2.0
"""A machine is busy where the known computation's 99th percentile is more than so many times its median."""

_NEGLIGIBLE: Final = 0.1
"""Below this share of the limit, nobody asks how much slower than the champion a version is."""

_RESAMPLES: Final = 500
_SHOWN_DIGITS: Final = 3


@dataclass(frozen=True, eq=False, slots=True)
class Timings:
    """Measurements of one version.

    Attributes:
        ref: Which one.
        times_ms: Of each request, less what it waited for a free core; all turns together, shape (n,).
        reference_ms: Of the known computation after each, shape (n,).
        peak_memory_bytes: Resident memory of its process, the largest of all turns.
        queued_ms: What its processes waited for a free core, in all.
        problem: Why it could not be measured; empty where it could.
    """

    ref: str
    times_ms: NDArray[np.float64]
    reference_ms: NDArray[np.float64]
    peak_memory_bytes: int
    queued_ms: float = 0.0
    problem: str = ""

    @property
    def busy(self) -> bool:
        """Whether the machine had other things to do meanwhile."""
        return self.noise > _BUSY

    @property
    def noise(self) -> float:
        """99th percentile of the known computation, in medians of it."""
        return float(np.quantile(self.reference_ms, PERCENTILE) / np.median(self.reference_ms))


@dataclass(frozen=True, eq=False, slots=True)
class LatencyEvidence:
    """What was measured.

    Attributes:
        subject: The candidate.
        candidate: Its timings.
        champion: Those of the version that serves, in the same run; None where none does.
        enforcement: How the processes were isolated.
    """

    subject: str
    candidate: Timings
    champion: Timings | None
    enforcement: Enforcement


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile between one-sided bounds; a bound is None where there are too few values for it."""

    value: float
    low: float | None
    high: float | None


def percentile_bounds(values: NDArray[np.float64], share: float, confidence: float) -> Percentile:
    """Bound a percentile by order statistics.

    Args:
        values: Shape (n,), n at least 1.
        share: Which percentile: 0.99.
        confidence: Of each bound by itself.

    Returns:
        The sample percentile. ``high`` is the smallest value that the true percentile is not above with at
        least ``confidence``: the k-th smallest with P(Binomial(n, share) < k) >= confidence.
    """
    ordered = np.sort(values)
    count = len(ordered)
    upper = int(binom.ppf(confidence, count, share)) + 1
    lower = int(binom.ppf(1.0 - confidence, count, share))
    return Percentile(
        value=float(np.quantile(ordered, share)),
        low=float(ordered[lower - 1]) if lower >= 1 else None,
        high=float(ordered[upper - 1]) if upper <= count else None,
    )


def requests_needed(confidence: float, share: float = PERCENTILE) -> int:
    """Fewest requests with which a percentile has an upper bound: ``share**n <= 1 - confidence``."""
    return int(np.ceil(np.log(1.0 - confidence) / np.log(share)))


def slowdown(
    candidate: NDArray[np.float64], champion: NDArray[np.float64], confidence: float, rng: np.random.Generator
) -> Percentile:
    """The candidate's median in medians of the champion, with percentile-bootstrap bounds (Efron 1979)."""
    drawn = _resampled_medians(candidate, rng) / _resampled_medians(champion, rng)
    return Percentile(
        value=float(np.median(candidate) / np.median(champion)),
        low=float(np.quantile(drawn, 1.0 - confidence)),
        high=float(np.quantile(drawn, confidence)),
    )


def judge_latency(evidence: LatencyEvidence, limits: LatencyLimits) -> Result:
    """Decide; pure, and the same for the same evidence: the bootstrap has a fixed seed."""
    candidate, champion = evidence.candidate, evidence.champion
    if candidate.problem or len(candidate.times_ms) == 0:
        problem = candidate.problem or "no request was answered"
        found = reason("not_measurable", "predictor", f"it could not be measured: {problem}")
        return gate_result(GateName.LATENCY, evidence.subject, {}, failed=[found])
    p99 = percentile_bounds(candidate.times_ms, PERCENTILE, limits.confidence)
    ratio = None
    if champion is not None and len(champion.times_ms) and not champion.problem:
        ratio = slowdown(candidate.times_ms, champion.times_ms, limits.confidence, np.random.default_rng(0))
    failed, open_questions = _time_against_limit(candidate, p99, limits)
    if champion is not None and ratio is not None:
        worse, unsure = _beside_champion(candidate, champion, p99, ratio, limits)
        failed += worse
        open_questions += unsure
    failed += _memory(candidate, limits)
    content = {
        "candidate": _timings_json(candidate, limits.confidence),
        "champion": None if champion is None else _timings_json(champion, limits.confidence),
        "slowdown": None if ratio is None else {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        "limits": {
            "p99_ms": limits.p99_ms,
            "memory_mib": limits.memory_mib,
            "slower_than_champion": limits.slower_than_champion,
            "confidence": limits.confidence,
        },
    }
    return gate_result(
        GateName.LATENCY,
        evidence.subject,
        content,
        failed=failed,
        inconclusive=open_questions,
        noted=[*_without_champion(champion)],
    )


def _time_against_limit(
    candidate: Timings, p99: Percentile, limits: LatencyLimits
) -> tuple[list[Reason], list[Reason]]:
    shown = f"the 99th percentile of {len(candidate.times_ms)} requests is {p99.value:.3g} ms"
    if p99.high is None:
        needed = requests_needed(limits.confidence)
        return [], [reason("too_few_requests", "latency", f"{shown}; it takes {needed} requests to bound it")]
    if p99.high <= limits.p99_ms:
        return [], []
    median = float(np.median(candidate.times_ms))
    slow = reason(
        "too_slow",
        "latency.p99_ms",
        f"{shown}, and {limits.p99_ms:g} ms are allowed (median {median:.3g} ms). Look at what one request "
        "costs, or ask for a higher limit in model.yaml",
    )
    if median > limits.p99_ms:
        return [slow], []  # no noise makes half of the requests slow
    if p99.low is not None and p99.low > limits.p99_ms and not candidate.busy:
        return [slow], []
    why = (
        f"the machine was busy meanwhile (a known computation's 99th percentile was {candidate.noise:.1f} "
        "times its median)"
        if candidate.busy
        else f"its upper bound is {p99.high:.3g} ms and the limit {limits.p99_ms:g} ms"
    )
    return [], [
        reason("latency_undecided", "latency.p99_ms", f"{shown}, but {why}. Try again on a quiet machine")
    ]


def _beside_champion(
    candidate: Timings, champion: Timings, p99: Percentile, ratio: Percentile, limits: LatencyLimits
) -> tuple[list[Reason], list[Reason]]:
    allowed = 1.0 + limits.slower_than_champion
    if (p99.high or p99.value) <= _NEGLIGIBLE * limits.p99_ms or (ratio.high or ratio.value) <= allowed:
        return [], []
    shown = (
        f"it takes {ratio.value:.2f} times as long as {champion.ref} in the same run (median "
        f"{np.median(candidate.times_ms):.3g} against {np.median(champion.times_ms):.3g} ms)"
    )
    if ratio.low is not None and ratio.low > allowed:
        message = f"{shown}; {allowed:.2f} times are allowed"
        return [reason("slower_than_champion", "latency.slower_than_champion", message)], []
    message = (
        f"{shown}, between {ratio.low:.2f} and {ratio.high:.2f}; {allowed:.2f} times are allowed. Try again"
    )
    return [], [reason("slowdown_undecided", "latency.slower_than_champion", message)]


def _memory(candidate: Timings, limits: LatencyLimits) -> list[Reason]:
    if candidate.peak_memory_bytes <= limits.memory_mib * MEBIBYTE:
        return []
    return [
        reason(
            "too_much_memory",
            "latency.memory_mib",
            f"its process needs {candidate.peak_memory_bytes / MEBIBYTE:.0f} MiB; {limits.memory_mib} MiB "
            "are allowed",
        )
    ]


def _without_champion(champion: Timings | None) -> Iterator[Reason]:
    if champion is None:
        yield reason(
            "no_champion", "latency", "no version serves in the slot: measured against the limit alone"
        )
    elif champion.problem:
        yield reason(
            "champion_not_measured",
            "latency",
            f"{champion.ref} could not be measured ({champion.problem}): measured against the limit alone",
        )


def _timings_json(timings: Timings, confidence: float) -> dict[str, Any]:
    if timings.problem or len(timings.times_ms) == 0:
        return {"ref": timings.ref, "problem": timings.problem}
    p99 = percentile_bounds(timings.times_ms, PERCENTILE, confidence)
    return {
        "ref": timings.ref,
        "requests": len(timings.times_ms),
        "p50_ms": _rounded(float(np.median(timings.times_ms))),
        "p99_ms": {"value": _rounded(p99.value), "low": _rounded(p99.low), "high": _rounded(p99.high)},
        "noise": _rounded(timings.noise),
        "queued_ms": _rounded(timings.queued_ms),
        "peak_memory_mib": _rounded(timings.peak_memory_bytes / MEBIBYTE),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _SHOWN_DIGITS)


def _resampled_medians(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    drawn = rng.integers(0, len(values), size=(_RESAMPLES, len(values)))
    medians: NDArray[np.float64] = np.median(values[drawn], axis=1)
    return medians


def in_turns(candidate: str, champion: str | None, rounds: int) -> Sequence[str]:
    """Who is asked when: candidate, champion, champion, candidate, ...; or the candidate alone."""
    if champion is None:
        return (candidate,) * rounds
    pairs = ((candidate, champion) if turn % 2 == 0 else (champion, candidate) for turn in range(rounds))
    return tuple(name for pair in pairs for name in pair)
