"""Shows how the calibrated constants were found: the old policy's figures by seed. No other policy runs here.

python -m services.recommendations.world.calibration --seeds 1 2 3 4 --leave-range 0.4 --country-skew 0.7
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace

from services.recommendations.world.closed_loop import run_window
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.summary import RunSummary
from services.recommendations.world.world import build_world
from streamrec.contracts.progress import SilentProgress


def old_policy_figures(base: WorldSettings, seeds: Iterable[int]) -> dict[int, RunSummary]:
    """Return the measures of the logged window under the old policy, by seed."""
    return {seed: run_window(build_world(replace(base, seed=seed)), SilentProgress())[1] for seed in seeds}


def main(arguments: list[str] | None = None) -> None:
    """Print churn, Gini and interactions by seed for the given constants."""
    defaults = WorldSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--users", type=int, default=defaults.users)
    parser.add_argument("--items", type=int, default=defaults.items)
    parser.add_argument("--leave-range", type=float, default=defaults.retention.leave_range)
    parser.add_argument("--country-skew", type=float, default=defaults.population.country_skew)
    parser.add_argument("--sessions-per-day", type=float, default=defaults.population.sessions_per_day)
    chosen = parser.parse_args(arguments)
    base = WorldSettings(
        users=chosen.users,
        items=chosen.items,
        retention=replace(defaults.retention, leave_range=chosen.leave_range),
        population=replace(
            defaults.population,
            country_skew=chosen.country_skew,
            sessions_per_day=chosen.sessions_per_day,
        ),
    )
    sys.stdout.write("seed  seven-day churn of new users   language Gini  interactions per known user\n")
    figures = old_policy_figures(base, chosen.seeds)
    for seed, summary in figures.items():
        churn = summary.seven_day_churn
        sys.stdout.write(
            f"{seed:4}  "
            + (f"{churn.value:.3f} [{churn.low:.3f}, {churn.high:.3f}]" if churn else "not observed")
            + f"          {summary.language_exposure_gini or 0.0:.3f}"
            + f"          {summary.interactions_per_known_user or 0.0:.1f}\n"
        )


if __name__ == "__main__":
    main()
