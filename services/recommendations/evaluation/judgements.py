"""From figures to verdicts: what an evaluation, a sweep of indexes and a closed loop amount to.

Pure: figures in, a `Result` with its reasons out. The commands print and write it; the demo shows the figures
and does not judge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from services.recommendations.evaluation.measured_elsewhere import CHURN, SERVED_POLICY
from streamrec.contracts.results import Reason, Result, Verdict, combined

if TYPE_CHECKING:
    from services.recommendations.evaluation.closed_loop_arms import ArmResult
    from services.recommendations.item_index.tuning_report import TuningReport

EVALUATION_SCHEMA: Final = "streamrec.evaluation.v1"
CLOSED_LOOP_SCHEMA: Final = "streamrec.closed_loop.v1"
INDEX_TUNING_SCHEMA: Final = "streamrec.index_tuning.v1"


def evaluation_result(report: Mapping[str, Any]) -> Result:
    """Judge an evaluation by its bars.

    Failed if a bar is missed; inconclusive if none is, but one that is for data like this was not measured,
    or none was measured at all; else passed.

    Args:
        report: The evaluation's JSON, with its ``bars``.
    """
    verdicts, reasons = [], []
    for position, bar in enumerate(report["bars"]):
        path = f"bars.{position}"
        if bar["met"] is None and not bar["applies"]:
            continue
        if bar["met"] is None:
            verdicts.append(Verdict.INCONCLUSIVE)
            why = f": {bar['note']}" if bar["note"] else ""
            reasons.append(Reason("bar_not_measured", path, f"{bar['name']} was not measured{why}"))
        elif bar["met"]:
            verdicts.append(Verdict.PASSED)
        else:
            verdicts.append(Verdict.FAILED)
            more = f" ({bar['note']})" if bar["note"] else ""
            message = f"{bar['name']}: {bar['figure']:.4g} where the bar is {bar['requirement']}{more}"
            reasons.append(Reason("bar_missed", path, message))
    if not verdicts:
        reasons.append(Reason("nothing_judged", "bars", "no bar is for what was evaluated here"))
    return Result(EVALUATION_SCHEMA, combined(verdicts), tuple(reasons), report)


def closed_loop_result(arms: Mapping[str, ArmResult]) -> Result:
    """Judge the seven-day churn of new users under the pipeline as served.

    Passed if the whole interval is at or below the bar, failed if the whole interval is above it, else
    inconclusive: more new users would narrow it.

    Args:
        arms: What each arm did, by name.
    """
    content = {name: arm.to_json() for name, arm in arms.items()}
    served = arms.get(SERVED_POLICY)
    churn = None if served is None else served.summary.seven_day_churn
    if churn is None:
        why = "that arm was not run" if served is None else "no new user could be followed for eight days"
        reason = Reason("churn_not_measured", SERVED_POLICY, f"no churn of the {SERVED_POLICY}: {why}")
        return Result(CLOSED_LOOP_SCHEMA, Verdict.INCONCLUSIVE, (reason,), content)
    if churn.high <= CHURN:
        return Result(CLOSED_LOOP_SCHEMA, Verdict.PASSED, (), content)
    if churn.low > CHURN:
        verdict, code, what = Verdict.FAILED, "churn_too_high", "the whole interval is above the bar"
    else:
        verdict, code = Verdict.INCONCLUSIVE, "churn_undecided"
        what = "the interval holds the bar: run it with more new users"
    message = (
        f"seven-day churn of new users: {churn.value:.1%} ({churn.low:.1%} to {churn.high:.1%}) "
        f"where the bar is at most {CHURN:.0%}; {what}"
    )
    reason = Reason(code, f"{SERVED_POLICY}.summary.seven_day_churn", message)
    return Result(CLOSED_LOOP_SCHEMA, verdict, (reason,), content)


def tuning_result(report: TuningReport, retrieval: str) -> Result:
    """Judge a sweep of indexes: passed if the chosen one reaches the limits.

    Args:
        report: What was measured and chosen.
        retrieval: The version ``NAME@VERSION`` whose vectors were searched.
    """
    content = {"retrieval": retrieval, **report.to_json()}
    if report.reaches_limits:
        return Result(INDEX_TUNING_SCHEMA, Verdict.PASSED, (), content)
    limits = report.limits
    message = (
        f"no index measured finds {limits.minimum_recall:.2%} within {limits.maximum_memory_bytes:,} bytes, "
        "exact search included: allow more memory or a lower recall"
    )
    reason = Reason("limits_not_reached", "chosen", message)
    return Result(INDEX_TUNING_SCHEMA, Verdict.FAILED, (reason,), content)
