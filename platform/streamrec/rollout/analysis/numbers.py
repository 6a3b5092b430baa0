"""Evidence as numbers that a document can hold and a person can read."""

from __future__ import annotations

from math import exp, log

from streamrec.rollout.analysis.findings import LARGEST_E_VALUE

_LOG_LARGEST = log(LARGEST_E_VALUE)


def as_e_value(log_evidence: float) -> float:
    """An e-value of its logarithm, at most `LARGEST_E_VALUE`."""
    return LARGEST_E_VALUE if log_evidence >= _LOG_LARGEST else exp(log_evidence)


def percent(share: float | None) -> str:
    """A share as text."""
    return "nothing" if share is None else f"{100.0 * share:.3g} %"
