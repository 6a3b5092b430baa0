"""Creators and items of the simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.labels import (
    CREATOR_LANGUAGE_SHARES,
    LANGUAGES,
    TITLE_ADJECTIVES,
    TITLE_NOUNS,
    TOPICS,
)
from services.recommendations.world.settings import START_SECONDS, WorldSettings
from services.recommendations.world.truth import DIMENSION, Effects, ItemTruth, unit_rows


@dataclass(frozen=True)
class WorldCatalogue:
    """What is known of every item. Rows are in the order of the item ids, as in `Catalogue`.

    Attributes:
        creators: Shape (n,), int32: row of the creator.
        languages: Shape (n,), int32: creator language, position in `LANGUAGES`.
        topics: Shape (n, 2), int32: positions in `TOPICS`, main topic first; -1 where there is no second.
        published_at: Shape (n,), int64: seconds since 1970, UTC.
        titles: Length n.
        creator_languages: Shape (creators,), int32.
    """

    creators: NDArray[np.int32]
    languages: NDArray[np.int32]
    topics: NDArray[np.int32]
    published_at: NDArray[np.int64]
    titles: tuple[str, ...]
    creator_languages: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.creators)

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """Length n, sorted: an id's number is its row."""
        return tuple(f"item-{row:07d}" for row in range(len(self)))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def cells(self) -> NDArray[np.int32]:
        """Shape (n,): language and main topic of each item as one number, ``language * topics + topic``."""
        return self.languages * np.int32(len(TOPICS)) + self.topics[:, 0]

    def published(self, now_seconds: int) -> NDArray[np.bool_]:
        """Shape (n,): whether each item is out."""
        return self.published_at <= now_seconds


def draw_catalogue(
    settings: WorldSettings, effects: Effects, rng: np.random.Generator
) -> tuple[WorldCatalogue, ItemTruth]:
    """Draw creators and items. Every language has at least one item published before the window."""
    choice = settings.catalogue
    item_count = settings.items
    shares = np.array(CREATOR_LANGUAGE_SHARES, dtype=np.float64) ** choice.language_skew
    items_per_language = quotas(shares, item_count)
    creators_per_language = np.maximum(1, np.round(items_per_language / choice.items_per_creator)).astype(int)
    creator_languages = np.repeat(np.arange(len(LANGUAGES), dtype=np.int32), creators_per_language)
    creator_count = len(creator_languages)

    creators = np.empty(item_count, dtype=np.int32)
    stop_item = np.cumsum(items_per_language)
    stop_creator = np.cumsum(creators_per_language)
    for language in range(len(LANGUAGES)):
        first = stop_creator[language] - creators_per_language[language]
        productivity = rng.lognormal(0.0, 1.0, creators_per_language[language])
        drawn = rng.choice(
            creators_per_language[language],
            size=items_per_language[language],
            p=productivity / productivity.sum(),
        )
        creators[stop_item[language] - items_per_language[language] : stop_item[language]] = first + drawn

    past = rng.exponential(choice.past_catalogue_days, item_count) * 86_400
    ahead = rng.random(item_count) * settings.days * 86_400
    upcoming = rng.random(item_count) < choice.published_in_window_share
    upcoming[stop_item - items_per_language] = False
    published_at = START_SECONDS + np.where(upcoming, ahead, -past - 1.0).astype(np.int64)

    # The order of creation says nothing about language or creator.
    order = rng.permutation(item_count)
    creators, published_at = creators[order], published_at[order]

    creator_topics = rng.integers(len(TOPICS), size=(creator_count, 2)).astype(np.int32)
    topics = _draw_topics(creator_topics[creators], rng)
    catalogue = WorldCatalogue(
        creators=creators,
        languages=creator_languages[creators],
        topics=topics,
        published_at=published_at,
        titles=_draw_titles(topics[:, 0], rng),
        creator_languages=creator_languages,
    )
    creator_styles = unit_rows(rng.standard_normal((creator_count, DIMENSION)))
    creator_appeal = rng.normal(0.0, choice.creator_appeal_sd, creator_count)
    second = np.where(topics[:, 1:] >= 0, effects.topics[topics[:, 1]], 0.0)
    vectors = (
        effects.topics[topics[:, 0]]
        + choice.second_topic_weight * second
        + choice.creator_weight * creator_styles[creators]
        + choice.noise_weight * unit_rows(rng.standard_normal((item_count, DIMENSION)))
    )
    truth = ItemTruth(
        vectors=unit_rows(vectors),
        appeal=(creator_appeal[creators] + rng.normal(0.0, choice.item_appeal_sd, item_count)).astype(
            np.float32
        ),
        quality=rng.normal(0.0, choice.quality_sd, item_count).astype(np.float32),
        duration_seconds=np.clip(rng.lognormal(6.4, 0.8, item_count), 60, 7_200).astype(np.float32),
    )
    return catalogue, truth


def quotas(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Split ``total`` by ``shares``, largest remainder first, at least one each; needs ``total >= n``."""
    exact = shares / shares.sum() * (total - len(shares))
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    remainder = total - len(shares) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:remainder]] += 1
    counts += 1
    return counts


def _draw_topics(home: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    """Shape (n, 2): mostly the creator's own topics (``home``), now and then any other."""
    count = len(home)
    swapped = rng.random(count) < 0.35
    first = np.where(swapped, home[:, 1], home[:, 0])
    elsewhere = rng.random(count) < 0.15
    first = np.where(elsewhere, rng.integers(len(TOPICS), size=count), first)
    second = np.where(rng.random(count) < 0.5, home[:, 0], rng.integers(len(TOPICS), size=count))
    absent = (rng.random(count) < 0.4) | (second == first)
    return np.stack([first, np.where(absent, -1, second)], axis=1).astype(np.int32)


def _draw_titles(topics: NDArray[np.int32], rng: np.random.Generator) -> tuple[str, ...]:
    adjectives = rng.integers(len(TITLE_ADJECTIVES), size=len(topics)).tolist()
    nouns = rng.integers(len(TITLE_NOUNS), size=len(topics)).tolist()
    return tuple(
        f"{TITLE_ADJECTIVES[adjective]} {TITLE_NOUNS[noun]} of {TOPICS[topic]}"
        for adjective, noun, topic in zip(adjectives, nouns, topics.tolist(), strict=True)
    )
