"""Judgements of gates made again from what their results keep: figures with their bounds.

Only what those bounds decide is decided; a limit that takes other figures (another confidence, another
metric) is none of `ChangedGates`. A gate is first judged by its own limits: where that does not give what was
written down, it stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

from streamrec.contracts.results import Result, Verdict, combined
from streamrec.contracts.specification.fairness_policy import FairnessMetric
from streamrec.contracts.specification.gate_names import GateName
from streamrec.rollout.replay.changed_policy import (
    ChangedFairness,
    ChangedGates,
    ChangedLatency,
    ChangedQuality,
)

_BUSY: Final = 2.0
_NEGLIGIBLE: Final = 0.1
"""Those of `streamrec.gates.checks.latency`."""

_ALMOST: Final = 0.1
"""Bounds that follow from others are known to a tenth of their width, at a few dozen units."""

_FEWEST_UNITS_TOLD: Final = 2
"""That of `streamrec.gates.quality.judgement`."""


def judged_again(result: Result, changed: ChangedGates) -> tuple[Verdict | None, str]:
    """A gate's verdict under changed limits.

    Args:
        result: What it said, with its evidence.
        changed: What is changed.

    Returns:
        The verdict, None where it is unknown; and why.
    """
    gate, evidence = GateName(result.content["gate"]), result.content["evidence"]
    if result.verdict is Verdict.ERROR or not isinstance(evidence, Mapping) or not evidence:
        return None, "the gate could not be run to its end, or kept nothing"
    parts: dict[GateName, ChangedQuality | ChangedLatency | ChangedFairness] = {
        GateName.QUALITY: changed.quality,
        GateName.LATENCY: changed.latency,
        GateName.FAIRNESS: changed.fairness,
    }
    part = parts.get(gate)
    if part is None or part == type(part)():
        return result.verdict, ""
    try:
        own, again = _both(evidence, part)
    except (KeyError, TypeError, ValueError) as error:
        return None, f"what it kept does not decide this: {error}"
    if own is not result.verdict:
        return None, "its own limits do not give this verdict by the figures that were kept"
    return again, ""


def _both(
    evidence: Mapping[str, Any], part: ChangedQuality | ChangedLatency | ChangedFairness
) -> tuple[Verdict, Verdict]:
    if isinstance(part, ChangedQuality):
        return _quality(evidence, ChangedQuality()), _quality(evidence, part)
    if isinstance(part, ChangedLatency):
        return _latency(evidence, ChangedLatency()), _latency(evidence, part)
    return _fairness(evidence, {}), _fairness(evidence, part.metrics)


def _quality(evidence: Mapping[str, Any], changed: ChangedQuality) -> Verdict:
    """See `streamrec.gates.quality.judgement`; bounds of the slack follow from the others."""
    sign = 1.0 if evidence["larger_is_better"] else -1.0
    units, candidate = evidence["units"], evidence["candidate"]
    floor = changed.floor if changed.floor is not None else evidence["floor"]
    if floor is not None and units >= _FEWEST_UNITS_TOLD:
        best = candidate["high"] if sign > 0 else candidate["low"]
        if sign * (best - floor) < 0.0:
            return Verdict.FAILED
    champion = evidence["champion"]
    if champion is None:
        if floor is None:
            return Verdict.INCONCLUSIVE
        slack, half = sign * (candidate["value"] - floor), _half(candidate)
        enough = units >= (changed.minimum_units or 0) and slack - half >= 0.0
        return Verdict.PASSED if enough and _had_units(evidence, changed) else Verdict.INCONCLUSIVE
    margin = changed.margin if changed.margin is not None else evidence["margin"]
    slack, half = _slack(evidence, margin, sign)
    if not _had_units(evidence, changed):
        return Verdict.INCONCLUSIVE
    needed = _units_needed(evidence, margin, sign)
    if margin != evidence["margin"]:
        # Each figure's bounds have their own quantile of Student's t, so those of the slack are nearly known.
        for distance in (slack - half, slack + half):
            if abs(distance) <= _ALMOST * half:
                raise ValueError("it lies too close to the bound to be told from what is kept")
        if abs(units - needed) <= _ALMOST * needed:
            raise ValueError("the units are too close to what it takes to be told from what is kept")
    if slack - half >= 0.0:
        return Verdict.PASSED
    if slack + half < 0.0 or units >= needed:
        return Verdict.FAILED
    return Verdict.INCONCLUSIVE


def _slack(evidence: Mapping[str, Any], margin: float, sign: float) -> tuple[float, float]:
    """Value and half width of ``sign (a - b) + allowed b``; the gain says how both vary together."""
    own, other, gain = evidence["candidate"], evidence["champion"], evidence["difference"]
    allowed = margin * (1.0 if other["value"] >= 0.0 else -1.0)
    together = (_half(own) ** 2 + _half(other) ** 2 - _half(gain) ** 2) / 2.0
    kept = 1.0 - sign * allowed
    square = _half(own) ** 2 + kept * kept * _half(other) ** 2 - 2.0 * kept * together
    return sign * (own["value"] - other["value"]) + allowed * other["value"], sqrt(max(square, 0.0))


def _half(interval: Mapping[str, Any]) -> float:
    return float(interval["high"] - interval["low"]) / 2.0


def _units_needed(evidence: Mapping[str, Any], margin: float, sign: float) -> float:
    """What was needed grows with the square of the error over the margin."""
    needed = evidence["units_needed"]
    if needed is None or margin == 0.0 or evidence["margin"] == 0.0:
        return float("inf") if margin == 0.0 or needed is None else float(needed)
    before, after = _slack(evidence, evidence["margin"], sign)[1], _slack(evidence, margin, sign)[1]
    if before == 0.0:
        return float(needed)
    grown: float = (after / before) * (evidence["margin"] / margin)
    return float(needed) * grown * grown


def _had_units(evidence: Mapping[str, Any], changed: ChangedQuality) -> bool:
    """Whether there were units enough; the least number that the specification asked for is not kept."""
    if changed.minimum_units is not None:
        return int(evidence["units"]) >= changed.minimum_units
    return True


def _latency(evidence: Mapping[str, Any], changed: ChangedLatency) -> Verdict:
    """See `streamrec.gates.checks.latency.judge_latency`."""
    limits, own, ratio = evidence["limits"], evidence["candidate"], evidence["slowdown"]
    p99_ms = changed.p99_ms if changed.p99_ms is not None else limits["p99_ms"]
    memory_mib = changed.memory_mib if changed.memory_mib is not None else limits["memory_mib"]
    slower = changed.slower_than_champion
    allowed = 1.0 + (limits["slower_than_champion"] if slower is None else slower)
    found = [_time(own, p99_ms)]
    if ratio is not None:
        most = own["p99_ms"]["high"] or own["p99_ms"]["value"]
        if most > _NEGLIGIBLE * p99_ms and ratio["high"] > allowed:
            found.append(Verdict.FAILED if ratio["low"] > allowed else Verdict.INCONCLUSIVE)
    found.append(Verdict.FAILED if own["peak_memory_mib"] > memory_mib else Verdict.PASSED)
    return combined(found)


def _time(own: Mapping[str, Any], p99_ms: float) -> Verdict:
    bound = own["p99_ms"]
    if bound["high"] is None:
        return Verdict.INCONCLUSIVE
    if bound["high"] <= p99_ms:
        return Verdict.PASSED
    surely = bound["low"] is not None and bound["low"] > p99_ms and own["noise"] <= _BUSY
    return Verdict.FAILED if own["p50_ms"] > p99_ms or surely else Verdict.INCONCLUSIVE


def _fairness(evidence: Mapping[str, Any], tolerances: Mapping[FairnessMetric, float]) -> Verdict:
    """See `streamrec.stats.fairness_decision`: by the whole interval of each difference."""
    wanted = {metric.value: limit for metric, limit in tolerances.items()}
    if not wanted.keys() <= {found["metric"] for found in evidence["differences"]}:
        raise ValueError("a metric was not looked at")
    return combined(
        _difference(found, wanted.get(found["metric"], found["tolerance"]))
        for found in evidence["differences"]
    )


def _difference(found: Mapping[str, Any], tolerance: float) -> Verdict:
    """By the one interval that is kept, which is the narrower one (for passing) where it has passed.

    Passing takes the narrower interval inside, failing the wider one outside: what the other one of the two
    would have to say is not known.
    """
    before = Verdict(found["verdict"])
    low, high = found["low"], found["high"]
    if tolerance == found["tolerance"] or found["undecided"] is not None or low is None or high is None:
        return before
    inside, outside = -tolerance <= low and high <= tolerance, low > tolerance or high < -tolerance
    if inside:
        return Verdict.PASSED
    if before is Verdict.PASSED and not outside:
        return Verdict.INCONCLUSIVE
    if before is not Verdict.PASSED and outside:
        return Verdict.FAILED
    raise ValueError("the interval that would decide was not kept")
