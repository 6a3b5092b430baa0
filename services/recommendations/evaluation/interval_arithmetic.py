"""How a section writes a figure as JSON."""

from __future__ import annotations

from streamrec.stats.intervals import Interval


def interval_json(interval: Interval | None) -> dict[str, float] | None:
    """``value``, ``low`` and ``high``, as everywhere in the evaluation's JSON; None where not estimable."""
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def shifted(interval: Interval | None, by: float, sign: float = 1.0) -> Interval | None:
    """``sign * interval + by``: a gain or a loss from a ratio. The bounds change places under a minus."""
    if interval is None:
        return None
    low, high = sorted((sign * interval.low + by, sign * interval.high + by))
    return Interval(sign * interval.value + by, low, high, interval.count)
