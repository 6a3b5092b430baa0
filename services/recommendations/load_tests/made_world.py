"""A made-up catalogue with users and their histories, as a data folder in the neutral format.

Items lie in clusters, users keep mostly to a few of them, and popularity falls with rank as in real
catalogues: what a request costs depends on all three (lists of the index that are looked into, rows of
item-to-item tables that are read), and not on whether anybody would like the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE

LANGUAGES: Final = ("en", "es", "de", "fr", "hi", "ja", "pt", "it", "ko", "tr", "nl", "fi")
COUNTRIES: Final = ("US", "MX", "DE", "FR", "IN", "JP", "BR", "IT", "KR", "TR", "NL", "FI")
AGE_BANDS: Final = ("18-24", "25-34", "35-44", "45-54")
SIGNUP_CHANNELS: Final = ("organic", "campaign", "referral")

_SMALLEST_LANGUAGE: Final = 0.03
"""Share of the smallest language, as one of the largest."""
_TOPICS: Final = 40
_ITEMS_A_CREATOR: Final = 20
_ITEMS_A_CLUSTER: Final = 250
_MOST_CLUSTERS: Final = 400
_CLUSTERS_OF_A_USER: Final = 3
_SHARE_IN_OWN_CLUSTERS: Final = 0.8
_POPULARITY_EXPONENT: Final = 0.8
_POPULARITY_OFFSET: Final = 10.0
_HISTORY_SPREAD: Final = 1.0
"""Standard deviation of the logarithm of a history's length."""
_END: Final = np.datetime64("2024-06-01T00:00:00", "s")
_DAYS: Final = 180
_SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True)
class MadeWorld:
    """What the models of a load test are made for.

    Attributes:
        settings: Its sizes.
        clusters: Shape (n,), int32: cluster of each item.
        popularity: Shape (n,), float64, sums to 1: share of the interactions that an item gets.
        languages: Shape (n,), int32: position of each item's language in `LANGUAGES`.
    """

    settings: WorldSettings
    clusters: NDArray[np.int32]
    popularity: NDArray[np.float64]
    languages: NDArray[np.int32]

    @classmethod
    def of(cls, settings: WorldSettings) -> Self:
        """Draw it."""
        rng = np.random.default_rng([settings.seed, 1])
        count = settings.item_count
        cluster_count = max(1, min(_MOST_CLUSTERS, count // _ITEMS_A_CLUSTER))
        ranks = rng.permutation(count)
        weights = 1.0 / (ranks + _POPULARITY_OFFSET) ** _POPULARITY_EXPONENT
        shares = np.geomspace(1.0, _SMALLEST_LANGUAGE, len(LANGUAGES))
        return cls(
            settings,
            rng.integers(cluster_count, size=count).astype(np.int32),
            weights / weights.sum(),
            rng.choice(len(LANGUAGES), size=count, p=shares / shares.sum()).astype(np.int32),
        )

    @property
    def cluster_count(self) -> int:
        """Number of clusters."""
        return int(self.clusters.max()) + 1

    def histories(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Draw what users took up, oldest first.

        Returns:
            Offsets, shape (users + 1,), and item rows, shape (offsets[-1],); no item twice in a history.
        """
        settings = self.settings
        rng = np.random.default_rng([settings.seed, 2])
        drawn = rng.lognormal(np.log(settings.median_history), _HISTORY_SPREAD, settings.user_count)
        lengths = np.clip(np.rint(drawn), 1, settings.longest_history).astype(np.int64)
        by_cluster = np.argsort(self.clusters, kind="stable")
        starts = np.searchsorted(self.clusters[by_cluster], np.arange(self.cluster_count + 1))
        # Sampling by popularity is a search in running sums: of all items, and of each cluster's.
        everywhere = np.cumsum(self.popularity)
        within = np.concatenate([[0.0], np.cumsum(self.popularity[by_cluster])])
        histories: list[NDArray[np.int32]] = []
        for length in lengths.tolist():
            wanted = 2 * length + 16  # more than enough: repeats are left out
            own = rng.choice(self.cluster_count, min(_CLUSTERS_OF_A_USER, self.cluster_count), replace=False)
            cluster = rng.choice(own, wanted)
            low, high = within[starts[cluster]], within[starts[cluster + 1]]
            near = by_cluster[_found(within[1:], low + rng.random(wanted) * (high - low))]
            far = _found(everywhere, rng.random(wanted))
            items = np.where(rng.random(wanted) < _SHARE_IN_OWN_CLUSTERS, near, far)
            _, first = np.unique(items, return_index=True)
            histories.append(items[np.sort(first)][:length].astype(np.int32))
        offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])])
        return offsets.astype(np.int64), np.concatenate(histories)

    def write(self, folder: Path) -> None:
        """Write the three files of the neutral format into ``folder``, which is made."""
        folder.mkdir(parents=True)
        rng = np.random.default_rng([self.settings.seed, 3])
        pq.write_table(self._items(rng), folder / ITEMS_FILE, compression="zstd")
        pq.write_table(self._users(rng), folder / USERS_FILE, compression="zstd")
        pq.write_table(self._interactions(rng), folder / INTERACTIONS_FILE, compression="zstd")

    def item_ids(self) -> tuple[str, ...]:
        """Ids in row order, which is their order as text."""
        return tuple(f"item-{row:07d}" for row in range(self.settings.item_count))

    def _items(self, rng: np.random.Generator) -> pa.Table:
        count = self.settings.item_count
        topics = pa.array([f"topic-{number}" for number in range(_TOPICS)])
        # The first topic goes with the cluster, the second does not.
        second = rng.integers(_TOPICS, size=count)
        chosen = np.stack([self.clusters % _TOPICS, second], axis=1).ravel()
        days = rng.integers(0, 20 * 365, size=count)
        published = (_END - np.timedelta64(_DAYS, "D")).astype("datetime64[D]") - days
        creators = rng.integers(max(1, count // _ITEMS_A_CREATOR), size=count)
        return pa.table(
            {
                "item_id": pa.array(self.item_ids()),
                "title": pa.array([f"Title {row}" for row in range(count)]),
                "creator_id": pa.array([f"creator-{number:06d}" for number in creators.tolist()]),
                "creator_language": pa.array(np.array(LANGUAGES)[self.languages]),
                "topics": pa.ListArray.from_arrays(
                    np.arange(count + 1, dtype=np.int32) * 2, topics.take(pa.array(chosen))
                ),
                "published_at": pa.array(published.astype("datetime64[ns]"), pa.timestamp("ns", "UTC")),
            }
        )

    def _users(self, rng: np.random.Generator) -> pa.Table:
        count = self.settings.user_count
        spoken = rng.integers(len(LANGUAGES), size=count)
        lived_in = np.where(rng.random(count) < 0.8, spoken, rng.integers(len(COUNTRIES), size=count))
        return pa.table(
            {
                "user_id": pa.array([self.settings.user_id(number) for number in range(count)]),
                "country": pa.array(np.array(COUNTRIES)[lived_in]),
                "language": pa.array(np.array(LANGUAGES)[spoken]),
                "age_band": pa.array(np.array(AGE_BANDS)[rng.integers(len(AGE_BANDS), size=count)]),
                "signup_channel": pa.array(
                    np.array(SIGNUP_CHANNELS)[rng.integers(len(SIGNUP_CHANNELS), size=count)]
                ),
                "signed_up_at": pa.array(
                    np.full(count, _END - np.timedelta64(_DAYS, "D")).astype("datetime64[ns]"),
                    pa.timestamp("ns", "UTC"),
                ),
            }
        )

    def _interactions(self, rng: np.random.Generator) -> pa.Table:
        offsets, items = self.histories()
        lengths = np.diff(offsets)
        users = np.repeat(np.arange(len(lengths)), lengths)
        seconds = rng.integers(_DAYS * _SECONDS_A_DAY, size=len(items))
        # Of each user in the order of time.
        seconds = seconds[np.lexsort((seconds, users))]
        times = (_END - np.timedelta64(_DAYS, "D")) + seconds.astype("timedelta64[s]")
        user_ids = pa.array([self.settings.user_id(number) for number in range(len(lengths))])
        return pa.table(
            {
                "user_id": user_ids.take(pa.array(users)),
                "item_id": pa.array(self.item_ids()).take(pa.array(items)),
                "timestamp": pa.array(times.astype("datetime64[ns]"), pa.timestamp("ns", "UTC")),
            }
        )


def _found(running_sums: NDArray[np.float64], drawn: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows whose part of the running sums holds what was drawn."""
    rows = np.searchsorted(running_sums, drawn, side="right")
    return np.minimum(rows, len(running_sums) - 1)
