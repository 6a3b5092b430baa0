"""What `traffic_needs` reads in the event log: the requests of a slot, and its outcome metric."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.progress import SilentProgress
from streamrec.metrics.catalogue import MetricCatalogue
from streamrec.metrics.computation import MetricSources, compute
from streamrec.rollout.traffic_needs import SeenTraffic

MAXIMUM_DAYS: Final = 7
"""A whole week, so that no weekday counts more than others."""

_SLATES: Final = "slates_per_user"
_PREDICTIONS: Final = "predictions_per_unit"


def seen_in_log(
    catalogue: MetricCatalogue, sources: MetricSources, slot: str, metric: str | None, now: datetime
) -> SeenTraffic:
    """What a slot got in the last finished days (UTC), at most `MAXIMUM_DAYS`.

    A day under way is left out: how much is still to come of it nobody knows.

    Args:
        catalogue: What metrics mean.
        sources: The event log.
        slot: Requests that it takes part in count: slates whose versions name one of it, or predictions of
            it where these are more.
        metric: The outcome; None: none is looked at.
        now: By the platform's clock.

    Returns:
        Nothing a day where the log holds no finished day.

    Raises:
        NotFoundError: There is no such metric.
        DependencyError, ArtifactError: The log cannot be read or is damaged.
    """
    end = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    days = [day for _, day in sources.events.extent().records if day < end.date()]
    if not days:
        return SeenTraffic(0.0, 0.0, None, metric)
    start = max(datetime.combine(min(days), time(), UTC), end - timedelta(days=MAXIMUM_DAYS))
    length = (end - start).days
    slates = _counted(catalogue, sources, _SLATES, f"version:{slot}", start, end, now)
    predictions = _counted(catalogue, sources, _PREDICTIONS, "slot", start, end, now)
    requests = max(
        sum(count for cell, count in slates.items() if cell != UNKNOWN), predictions.get(slot, 0.0)
    )
    moments = None
    if metric is not None:
        found = compute(
            catalogue.metric(metric),
            catalogue,
            sources,
            start=start,
            end=end,
            now=now,
            progress=SilentProgress(),
        )
        moments = next((figure.statistics.moments for figure in found.figures), None)
    return SeenTraffic(requests / length, float(length), moments, metric)


def _counted(
    catalogue: MetricCatalogue,
    sources: MetricSources,
    metric: str,
    by: str,
    start: datetime,
    end: datetime,
    now: datetime,
) -> dict[str, float]:
    """What a mean over units counts, by cell."""
    found = compute(
        catalogue.metric(metric),
        catalogue,
        sources,
        start=start,
        end=end,
        now=now,
        progress=SilentProgress(),
        by=(by,),
    )
    return {figure.cell[0]: figure.statistics.moments.x for figure in found.figures}
