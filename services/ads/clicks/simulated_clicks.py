"""Simulated advertisements that were shown: what stands in for the ads team's logs where there are none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd

FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAYS: Final = 30
COUNTRIES: Final = ("BR", "ID", "KE")
_COUNTRY_SHARES: Final = (0.5, 0.3, 0.2)
_MINUTES_A_DAY: Final = 24 * 60


def simulated_clicks(rng: np.random.Generator, *, shown: int = 30_000, users: int = 3_000) -> pd.DataFrame:
    """Draw advertisements that were shown, oldest first.

    Users of all countries click by the same rule, so that a model of it is fair.

    Args:
        rng: Source of every draw.
        shown: How many.
        users: To how many people.

    Returns:
        Columns request_id, unit, at (UTC), label (1.0 where it was clicked), group.country, and the features
        of `services.ads.clicks.model.FEATURES`.
    """
    country_of = rng.choice(len(COUNTRIES), size=users, p=_COUNTRY_SHARES)
    user = rng.integers(users, size=shown)
    relevance = rng.normal(size=shown)
    ads_seen_today = rng.poisson(4.0, size=shown).astype(np.float64)
    seconds = rng.exponential(600.0, size=shown)
    chance = 1.0 / (1.0 + np.exp(-(1.8 * relevance - 0.25 * (ads_seen_today - 4.0) - seconds / 3_000.0)))
    minutes = np.sort(rng.uniform(0.0, DAYS * _MINUTES_A_DAY, size=shown))
    return pd.DataFrame(
        {
            "request_id": [f"shown-{number:06d}" for number in range(shown)],
            "unit": [f"user-{number:05d}" for number in user],
            "at": pd.Timestamp(FIRST_DAY) + pd.to_timedelta(minutes.round(4), unit="min"),
            "label": (rng.random(shown) < chance).astype(np.float64),
            "group.country": [COUNTRIES[country_of[number]] for number in user],
            "relevance": relevance,
            "ads_seen_today": ads_seen_today,
            "seconds_since_start": seconds,
        }
    )
