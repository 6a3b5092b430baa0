"""The measures of a run that the company watches, all of them from observables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.recommendations.world.catalogue import WorldCatalogue
from services.recommendations.world.labels import LANGUAGES
from services.recommendations.world.simulation import Run
from services.recommendations.world.users import UserTable
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.stats.inequality import gini
from streamrec.stats.intervals import bootstrap_mean


@dataclass(frozen=True)
class RunSummary:
    """Measures of one run under one policy.

    Attributes:
        users: Users of the population.
        new_users: Those that were followed for eight days after signing up during the run.
        items: Items of the catalogue.
        interactions: Interactions logged.
        interactions_per_known_user: Mean over the users that had signed up before; None without any.
        sessions: Sessions of all users.
        exposures: Items shown, counted once per page.
        click_rate: Clicks per item shown; None when nothing was shown.
        click_rate_by_position: The same by position, first to last.
        seven_day_churn: Share of ``new_users`` without a session from 1 to 8 days after signing up; None
            when nobody could be followed that long.
        language_exposure_gini: Gini of exposures over all creator languages of the catalogue.
        creator_exposure_gini: The same over all creators.
        exposure_by_language: Share of the exposures by creator language.
    """

    users: int
    new_users: int
    items: int
    interactions: int
    interactions_per_known_user: float | None
    sessions: int
    exposures: int
    click_rate: float | None
    click_rate_by_position: tuple[float | None, ...]
    seven_day_churn: Interval | None
    language_exposure_gini: float | None
    creator_exposure_gini: float | None
    exposure_by_language: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {**asdict(self), "seven_day_churn": interval_json(self.seven_day_churn)}


def summarise(
    run: Run, users: UserTable, catalogue: WorldCatalogue, start_seconds: int, rng: np.random.Generator
) -> RunSummary:
    """Compute the measures of ``run``.

    Args:
        run: The run.
        users: Its population.
        catalogue: The items it could show.
        start_seconds: Start of the run: who signed up before is a known user.
        rng: Source of the bootstrap resamples.
    """
    by_language = np.bincount(catalogue.languages, run.exposures, minlength=len(LANGUAGES)).astype(np.float64)
    creators = len(catalogue.creator_languages)
    by_creator = np.bincount(catalogue.creators, run.exposures, minlength=creators).astype(np.float64)
    total = int(run.exposures.sum())
    known = users.signed_up_at < start_seconds
    of_known = int(known[run.users].sum())
    churned = (~run.returned[run.followed]).astype(np.float64)
    return RunSummary(
        users=len(users),
        new_users=int(run.followed.sum()),
        items=len(catalogue),
        interactions=len(run.items),
        interactions_per_known_user=of_known / int(known.sum()) if known.any() else None,
        sessions=int(run.sessions.sum()),
        exposures=total,
        click_rate=int(run.position_clicks.sum()) / total if total else None,
        click_rate_by_position=tuple(
            float(clicks / shown) if shown else None
            for clicks, shown in zip(run.position_clicks, run.position_exposures, strict=True)
        ),
        seven_day_churn=bootstrap_mean(churned, rng=rng) if churned.size else None,
        language_exposure_gini=gini(by_language) if total else None,
        creator_exposure_gini=gini(by_creator) if total else None,
        exposure_by_language={
            language: float(count / total) if total else 0.0
            for language, count in zip(LANGUAGES, by_language, strict=True)
        },
    )
