"""What nobody may know: true tastes, item qualities and effects.

Only the modules of this package and the tests import this one; an import contract keeps everybody else out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.labels import AGE_BANDS, COUNTRIES, SIGNUP_CHANNELS, TOPICS
from services.recommendations.world.settings import BehaviourSettings

DIMENSION: Final = 16
"""Dimension of the hidden space of tastes and items."""

SUCCESSORS: Final = 2
"""Topics that interest in a topic moves on to."""


@dataclass(frozen=True)
class Effects:
    """What topics and segments do.

    Attributes:
        topics: Shape (topics, `DIMENSION`), unit vectors.
        successors: Shape (topics, `SUCCESSORS`), int32: where interest in each topic moves on to.
        countries: Shape (countries, `DIMENSION`), unit vectors: pull of a country on the taste.
        age_bands: Shape (age bands, `DIMENSION`), the same of an age band.
        signup_channels: Shape (signup channels, `DIMENSION`), the same of a signup channel.
    """

    topics: NDArray[np.float32]
    successors: NDArray[np.int32]
    countries: NDArray[np.float32]
    age_bands: NDArray[np.float32]
    signup_channels: NDArray[np.float32]


@dataclass(frozen=True)
class ItemTruth:
    """What items are really like.

    Attributes:
        vectors: Shape (n, `DIMENSION`), unit vectors.
        appeal: Shape (n,): how strongly the item invites a click, logits.
        quality: Shape (n,): how well it keeps what it promises, logits.
        duration_seconds: Shape (n,).
    """

    vectors: NDArray[np.float32]
    appeal: NDArray[np.float32]
    quality: NDArray[np.float32]
    duration_seconds: NDArray[np.float32]


@dataclass(frozen=True)
class UserTruth:
    """What users really want.

    Attributes:
        tastes: Shape (n, `DIMENSION`), unit vectors.
        language_logits: Shape (n, languages): interest in each language, 0 for the first.
        sessions_per_day: Shape (n,): rate at neutral satisfaction.
    """

    tastes: NDArray[np.float32]
    language_logits: NDArray[np.float32]
    sessions_per_day: NDArray[np.float32]


def draw_effects(rng: np.random.Generator) -> Effects:
    """Draw the effects of a world: every segment pulls towards a mix of a few topics."""
    topics = unit_rows(rng.standard_normal((len(TOPICS), DIMENSION)))
    similarity = topics @ topics.T
    np.fill_diagonal(similarity, -np.inf)
    # Successors are neither the topic itself nor its nearest neighbours: what follows what is knowledge
    # about order that similarity of content does not give away.
    order = np.argsort(similarity, axis=1)[:, 1:-4]
    chosen = rng.permuted(order, axis=1)[:, :SUCCESSORS]
    return Effects(
        topics=topics,
        successors=chosen.astype(np.int32),
        countries=draw_topic_mixes(len(COUNTRIES), topics, rng),
        age_bands=draw_topic_mixes(len(AGE_BANDS), topics, rng),
        signup_channels=draw_topic_mixes(len(SIGNUP_CHANNELS), topics, rng),
    )


def draw_topic_mixes(
    count: int, topics: NDArray[np.float32], rng: np.random.Generator, chosen: int = 3
) -> NDArray[np.float32]:
    """Draw ``count`` unit vectors, each a random mix of ``chosen`` topics."""
    picks = rng.integers(len(topics), size=(count, chosen))
    weights = rng.dirichlet(np.ones(chosen), size=count).astype(np.float32)
    return unit_rows(np.einsum("nc,ncd->nd", weights, topics[picks]))


def unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale each row to length one."""
    norms = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
    return np.asarray(matrix / np.maximum(norms, 1e-9), dtype=np.float32)


def match_logits(
    users: UserTruth,
    user_rows: NDArray[np.int64],
    items: ItemTruth,
    languages: NDArray[np.int32],
    item_rows: NDArray[np.int32],
    settings: BehaviourSettings,
) -> NDArray[np.float32]:
    """Shape (n, k): lasting interest of each user in the ``item_rows`` (n, k), without appeal and mood."""
    cosine = np.einsum("nd,nkd->nk", users.tastes[user_rows], items.vectors[item_rows])
    language = users.language_logits[user_rows[:, None], languages[item_rows]]
    return np.asarray(settings.taste_weight * cosine + language, dtype=np.float32)
