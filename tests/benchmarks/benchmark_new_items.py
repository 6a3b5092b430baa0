"""How well new items are ranked by content alone: python tests/benchmarks/benchmark_new_items.py [FOLDER]

A tenth of the items with five interactions or more is taken out of a data folder (default: a small simulated
world) before training, and put afterwards, as while serving. Who took up such an item is asked for its place
among everything that they had not seen. Beside it stands the place of the last item that they took up of
those that were trained on, which training did not see either. The mean place is a share of the catalogue, 0
the first and 0.5 what chance would give, with its 95 % interval over users.

"at the end" is what a ranker does with items that it does not know.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.jobs.training import TrainingSettings, train_stages
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training.histories import segments_by_user
from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.intervals import Interval
from streamrec.contracts.items import Item
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.datasets.item_changes import with_item_changes
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.stats.intervals import bootstrap_mean
from streamrec.training.splits import leave_last_out

SEED: Final = 20261128
HELD_OUT_SHARE: Final = 0.1
LEAST_INTERACTIONS: Final = 5
MOST_USERS: Final = 1_000
TOP: Final = 100

Case = tuple[UserState, str]


def main(folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch) / "world"
            generate_world(WorldSettings(users=1_500, items=1_500), folder, SilentProgress())
        dataset = load_dataset(folder)
        held_out = choose(dataset)
        known, state = take_out(dataset, held_out)
        registry = MemoryModelRegistry(Path(scratch) / "registry")
        versions = train_stages(
            ("retrieval", "ranking"),
            known,
            registry,
            Path(scratch) / "work",
            seed=SEED,
            progress=SilentProgress(),
            settings=TrainingSettings.quick(),
        )
        ranker = StudentRanker.load(registry.fetch(versions["ranking"]))
        retriever = TwoTowerRetriever.load(registry.fetch(versions["retrieval"]))
    new, warm = cases(dataset, known, held_out)
    print(
        f"{len(held_out)} of {len(dataset.catalogue)} items put after training; {len(new)} users took one up"
    )
    print(f"{'':34}{'mean place':>10}   95 % interval    in the first {TOP}")
    everything = dataset.catalogue.item_ids
    live_ranker, live_retriever = ranker.with_items(state), retriever.with_items(state)
    print_places("ranking, trained on", live_ranker.rank, warm, everything)
    print_places("ranking, new", live_ranker.rank, new, everything)
    print_places("ranking, new, at the end", ranker.rank, new, everything)
    print_places("retrieval, trained on", found_by(live_retriever), warm, everything)
    print_places("retrieval, new", found_by(live_retriever), new, everything)


def choose(dataset: Dataset) -> frozenset[str]:
    """Draw the items that are taken out."""
    counts = dataset.positive_interactions["item_id"].value_counts()
    able = np.array(sorted(counts.index[counts >= LEAST_INTERACTIONS]))
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(able, max(1, round(HELD_OUT_SHARE * len(able))), replace=False)
    return frozenset(chosen.tolist())


def take_out(dataset: Dataset, held_out: frozenset[str]) -> tuple[Dataset, ItemState]:
    """What training sees, and what is put afterwards."""
    log = MemoryItemLog()
    log.append(sorted(held_out))
    log.refresh()
    left = with_item_changes(dataset.catalogue, log.current)
    interactions = dataset.interactions[~dataset.interactions["item_id"].isin(held_out)]
    known = replace(
        dataset, catalogue=left, interactions=interactions.reset_index(drop=True), additions="held out"
    )
    put = MemoryItemLog()
    put.append(
        [item_of(dataset.catalogue, dataset.catalogue.row_of[item_id]) for item_id in sorted(held_out)]
    )
    put.refresh()
    return known, put.current


def item_of(catalogue: Catalogue, row: int) -> Item:
    moment = catalogue.published_at[row]
    return Item(
        catalogue.item_ids[row],
        "",
        catalogue.creator_ids[row][:MAXIMUM_ID_CHARACTERS],
        catalogue.creator_languages[row],
        catalogue.topics[row],
        None if np.isnat(moment) else moment.item().replace(tzinfo=UTC),
    )


def cases(dataset: Dataset, known: Dataset, held_out: frozenset[str]) -> tuple[list[Case], list[Case]]:
    """For each user a history, with a new item and with a known one that training did not see taken up."""
    split = leave_last_out(known)
    segments = segments_by_user(known)
    names = split.catalogue.item_ids
    new_of = (
        dataset.positive_interactions[dataset.positive_interactions["item_id"].isin(held_out)]
        .groupby("user_id")["item_id"]
        .last()
        .to_dict()
    )
    new, warm = [], []
    for user, test in zip(split.evaluated.tolist(), split.test.tolist(), strict=True):
        user_id = split.history.user_ids[user]
        if user_id in new_of and len(new) < MOST_USERS:
            history = tuple(names[row] for row in split.history.of(user).tolist())
            state = UserState(user_id, segments.get(user_id, Segment()), history)
            new.append((state, new_of[user_id]))
            warm.append((state, names[test]))
    return new, warm


def found_by(retriever: TwoTowerRetriever) -> Callable[[UserState, Candidates], Candidates]:
    def rank(user: UserState, candidates: Candidates) -> Candidates:
        return retriever.retrieve(user, len(candidates))

    return rank


def print_places(
    name: str,
    rank: Callable[[UserState, Candidates], Candidates],
    wanted: list[Case],
    everything: tuple[str, ...],
) -> None:
    places, hits = [], []
    for user, item_id in wanted:
        seen = set(user.history)
        unseen = tuple(other for other in everything if other not in seen)
        ranked = rank(user, Candidates(unseen, np.zeros(len(unseen), dtype=np.float32))).item_ids
        place = ranked.index(item_id)
        places.append(place / (len(ranked) - 1))
        hits.append(float(place < TOP))
    mean, hit = interval(places), interval(hits)
    print(
        f"{name:34}{mean.value:10.3f}   {mean.low:.3f} to {mean.high:.3f}   "
        f"{hit.value:.3f} ({hit.low:.3f} to {hit.high:.3f})"
    )


def interval(values: list[float]) -> Interval:
    as_array: NDArray[np.float64] = np.array(values)
    return bootstrap_mean(as_array, rng=np.random.default_rng(SEED))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
