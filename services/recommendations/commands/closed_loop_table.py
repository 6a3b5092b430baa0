"""The arms of the closed loop as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group

from services.recommendations.evaluation.closed_loop_arms import BEST_KNOWN, GREEDY, ArmResult
from streamrec.command_line.tables import figure_text, table
from streamrec.contracts.intervals import Interval


def closed_loop_table(results: Mapping[str, ArmResult], seed: int, new_users: int) -> Group:
    """Build the table: one row an arm, each ingredient added to the row before."""
    return table(
        f"Closed loop, world of seed {seed}, {new_users:,} new users in every arm; 95 % intervals over users",
        (
            "arm",
            "seven-day churn",
            "against the old policy",
            "sessions",
            "satisfaction a page",
            "regret a page: greedy",
            "best known",
            "language Gini",
        ),
        (
            (
                name,
                _share(result.summary.seven_day_churn),
                _share(result.churn_against_old),
                figure_text(result.summary.sessions / new_users, 2),
                _figure(result.satisfaction_per_page),
                _figure(result.regret_per_page.get(GREEDY)),
                _figure(result.regret_per_page.get(BEST_KNOWN)),
                figure_text(result.summary.language_exposure_gini),
            )
            for name, result in results.items()
        ),
    )


def _share(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:.1%} ({interval.low:.1%}, {interval.high:.1%})"


def _figure(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:.3f} ({interval.low:.3f}, {interval.high:.3f})"
