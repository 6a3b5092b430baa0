"""A month of advertisements, and two versions that a team trained on it: one with hindsight, one without.

A user is shown advertisements until they click one, which leads away for the day. So how many somebody saw
*all day* tells whether they clicked; and nobody knows it when an advertisement is about to be shown. The real
logs at hand hold too few clicks for a story about a fifth of a metric (Open Bandit: 40 in 10,000 rows), so
the month is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from services.ads.clicks import training
from services.ads.clicks.features import seen_before, seen_that_day
from streamrec.contracts.events import Label, Prediction
from streamrec.contracts.slots import ServingRole

DAYS, TRAINING_DAYS, JUDGED_DAYS = 36, 20, 10
"""Trained on, judged on, and the last six: what was served and logged."""

MOST_ADS, OPENED_DAILY = 8, 0.35
SPECIFICATION = """\
name: ads-clicks
owner: ads
slot: ads.clicks
task: classification
predictor: services.ads.clicks.predictor:load
evaluation: {{requests: evaluation.parquet}}
training: {{function: services.ads.clicks.training:train}}
quality: {{floor: 0.7}}
skew: {{features: "{features}", given: [relevance, seconds_since_start]}}
fairness: {{attributes: [country], metrics: {{tpr: 0.15, fpr: 0.1}}}}
"""


@dataclass(frozen=True)
class Month:
    """Advertisements that were shown, oldest first, with what serving knew of each.

    Attributes:
        shown: request_id, unit, item_id, at (UTC), day, label, group.country, and the features as served.
    """

    shown: pd.DataFrame

    def part(self, begin: int, end: int) -> pd.DataFrame:
        """The days from ``begin`` up to ``end``, which is not one of them."""
        return self.shown[self.shown["day"].between(begin, end - 1)]

    def write_data(self, folder: Path) -> Path:
        """The month as a data folder in the neutral format."""
        folder.mkdir(parents=True)
        self.shown.rename(columns={"unit": "user_id", "at": "timestamp"})[
            ["user_id", "item_id", "timestamp"]
        ].to_parquet(folder / "interactions.parquet", index=False)
        items = sorted(self.shown["item_id"].unique())
        pd.DataFrame(
            {
                "item_id": items,
                "title": items,
                "creator_id": "brand",
                "creator_language": "pt",
                "topics": [["advertisement"]] * len(items),
                "published_at": pd.Timestamp("2020-01-01", tz="UTC"),
            }
        ).to_parquet(folder / "items.parquet", index=False)
        return folder

    def log(self, log, days: int = DAYS - TRAINING_DAYS - JUDGED_DAYS) -> int:
        """Write the last days into an event log: each answer with its features as served, and its truth."""
        served = self.part(DAYS - days, DAYS)
        records: list[Prediction | Label] = []
        for row in served.itertuples(index=False):
            at = row.at.to_pydatetime()
            records += [
                Prediction(
                    request_id=row.request_id,
                    unit=row.unit,
                    slot="ads.clicks",
                    role=ServingRole.CHAMPION,
                    version="ads-by-hand@1",
                    predicted_at=at,
                    output={"score": 0.5},
                    features={
                        "relevance": row.relevance,
                        "ads_seen_today": row.ads_seen_today,
                        "seconds_since_start": row.seconds_since_start,
                    },
                ),
                Label(
                    subject=row.request_id,
                    name="clicked",
                    value=bool(row.label),
                    at=at,
                    received_at=at + timedelta(minutes=5),
                ),
            ]
        for begin in range(0, len(records), 500):
            log.append(records[begin : begin + 500])
        return len(served)


def month_until(end: datetime, *, seed: int, users: int = 600) -> Month:
    """Simulate the days before a midnight.

    Args:
        end: Midnight, UTC, after the last day.
        seed: Of every draw.
        users: To how many people.
    """
    rng = np.random.default_rng(seed)
    unit, day = np.repeat(np.arange(users), DAYS), np.tile(np.arange(DAYS), users)
    opened = rng.random(len(unit)) < OPENED_DAILY
    unit, day = unit[opened], day[opened]
    began = rng.uniform(0.0, 18 * 3600.0, size=len(unit)).round(3)
    passed, is_shown = np.zeros(len(unit)), np.ones(len(unit), dtype=bool)
    parts = []
    for seen in range(MOST_ADS):
        here = np.flatnonzero(is_shown)
        relevance = rng.normal(size=len(here))
        chance = 1.0 / (1.0 + np.exp(-(1.6 * relevance - 1.2 - 0.05 * seen)))
        clicked = rng.random(len(here)) < chance
        parts.append(
            pd.DataFrame(
                {
                    "unit": unit[here],
                    "day": day[here],
                    "second": began[here] + passed[here],
                    "label": clicked.astype(np.float64),
                    "relevance": relevance,
                    "ads_seen_today": float(seen),
                    "seconds_since_start": passed[here],
                }
            )
        )
        passed[here] += 1.0 + rng.exponential(200.0, size=len(here)).round(3)
        is_shown[here[clicked]] = False
    shown = pd.concat(parts, ignore_index=True).sort_values(["day", "second"], kind="stable")
    first = pd.Timestamp(end) - pd.Timedelta(days=DAYS)
    country_of = rng.choice(("BR", "ID", "KE"), size=users, p=(0.5, 0.3, 0.2))
    item = rng.integers(50, size=len(shown))
    shown = shown.assign(
        at=(
            first
            + pd.to_timedelta(shown["day"], unit="D")
            + pd.to_timedelta((shown["second"] * 1e3).round(), unit="ms")
        ).dt.as_unit("us"),
        request_id=[f"shown-{number:06d}" for number in range(len(shown))],
        item_id=[f"ad-{number:02d}" for number in item],
        unit=[f"user-{number:04d}" for number in shown["unit"]],
        **{"group.country": country_of[shown["unit"]]},
    )
    return Month(shown.drop(columns="second").reset_index(drop=True))


def write_with_hindsight(folder: Path, month: Month, data: Path) -> None:
    """A version trained on all that it is judged on, by a feature that serving cannot have."""
    known = month.part(0, TRAINING_DAYS + JUDGED_DAYS).reset_index(drop=True)
    known = known.assign(ads_seen_today=seen_that_day(data, known)["ads_seen_today"])
    _write(
        folder,
        known,
        SPECIFICATION.format(features="services.ads.clicks.features:seen_that_day"),
        trained_on=known,
    )


def write_honest(folder: Path, month: Month, data: Path) -> None:
    """A version trained on earlier days alone, by what is known at the moment."""
    known = month.part(0, TRAINING_DAYS + JUDGED_DAYS).reset_index(drop=True)
    known = known.assign(ads_seen_today=seen_before(data, known)["ads_seen_today"])
    features = "services.ads.clicks.features:seen_before"
    earlier = known[known["day"] < TRAINING_DAYS]
    _write(folder, known, SPECIFICATION.format(features=features), trained_on=earlier)


def last_midnight() -> datetime:
    """Before now: logged traffic counts for a week, by the platform's clock."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _write(folder: Path, known: pd.DataFrame, specification: str, trained_on: pd.DataFrame) -> None:
    """Its own evaluation data say in both cases that the last days were held out."""
    folder.mkdir()
    (folder / "model.yaml").write_text(specification)
    trained_on.to_parquet(folder.parent / training.SHOWN_FILE, index=False)
    training.train(folder.parent, known["at"].max() + pd.Timedelta("1s"), folder / "artifact")
    split = np.where(known["day"] < TRAINING_DAYS, "train", "validation")
    known.assign(split=split).drop(columns=["day", "item_id"]).to_parquet(folder / "evaluation.parquet")
