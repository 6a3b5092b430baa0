"""A whole simulated world, drawn from its settings, hidden tastes included: for this package and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.behaviour import Scene
from services.recommendations.world.catalogue import WorldCatalogue, draw_catalogue
from services.recommendations.world.search import Search, draw_columns
from services.recommendations.world.settings import (
    START_SECONDS,
    TICK_SECONDS,
    WorldSettings,
)
from services.recommendations.world.truth import Effects, ItemTruth, UserTruth, draw_effects
from services.recommendations.world.users import UserTable, draw_users
from streamrec.stats.random_state import generator_for

SESSION_SECONDS: Final = 5_400
"""Longest session; one starts early enough in its tick to end in it."""

_COHORT_BLOCK: Final = 1_024


@dataclass(frozen=True)
class World:
    """Catalogue and users with what is true of them."""

    settings: WorldSettings
    catalogue: WorldCatalogue
    effects: Effects
    items: ItemTruth
    users: UserTable
    user_truth: UserTruth


@dataclass(frozen=True)
class Past:
    """What users did before the window: one row per interaction, in the order of time within a user.

    Attributes:
        users: Shape (n,), int64.
        items: Shape (n,), int32.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int32]


def stream(settings: WorldSettings, *purpose: str) -> np.random.Generator:
    """Return the random stream of one purpose: no purpose disturbs another."""
    return generator_for("world", str(settings.seed), *purpose)


def build_world(settings: WorldSettings) -> World:
    """Draw the world of ``settings``: the same settings, the same world."""
    effects = draw_effects(stream(settings, "effects"))
    catalogue, items = draw_catalogue(settings, effects, stream(settings, "catalogue"))
    rng = stream(settings, "users")
    count = settings.users
    new = rng.random(count) < settings.population.new_user_share
    in_window = _sign_up_seconds(rng.integers(settings.days * 86_400 // TICK_SECONDS, size=count), rng)
    before = START_SECONDS - 86_400 - (rng.exponential(300.0, count) * 86_400).astype(np.int64)
    signed_up_at = np.where(new, in_window, before)
    user_ids = tuple(f"user-{row:07d}" for row in range(count))
    users, user_truth = draw_users(user_ids, signed_up_at, settings.population, effects, rng)
    return World(settings, catalogue, effects, items, users, user_truth)


def draw_cohort(world: World, count: int, purpose: str) -> tuple[UserTable, UserTruth]:
    """Draw brand-new users that sign up on the day after the window.

    User number i of a purpose is the same whatever ``count`` is.
    """
    tables, truths = [], []
    first_tick = world.settings.days * 86_400 // TICK_SECONDS
    for block in range(max(1, -(-count // _COHORT_BLOCK))):
        rng = stream(world.settings, "cohort", purpose, str(block))
        ticks = first_tick + rng.integers(86_400 // TICK_SECONDS, size=_COHORT_BLOCK)
        first = block * _COHORT_BLOCK
        user_ids = tuple(f"new-{purpose}-{first + row:07d}" for row in range(_COHORT_BLOCK))
        table, truth = draw_users(
            user_ids, _sign_up_seconds(ticks, rng), world.settings.population, world.effects, rng
        )
        tables.append(table)
        truths.append(truth)
    return _joined_tables(tables, count), _joined_truths(truths, count)


def draw_past(world: World) -> Past:
    """Draw what the users of before the window consumed: language, then topic, by their true interest, then
    an item of that cell by appeal. Items are distinct within a user.
    """
    rng = stream(world.settings, "past")
    catalogue, truth = world.catalogue, world.user_truth
    old = np.flatnonzero(world.users.signed_up_at < START_SECONDS)
    users = np.repeat(old, rng.poisson(world.settings.population.past_interactions, len(old)))
    language = draw_columns(np.exp(truth.language_logits), users, rng)
    interest = world.settings.behaviour.focus_taste_weight * (truth.tastes @ world.effects.topics.T)
    topic = draw_columns(np.exp(interest), users, rng)
    scene = Scene(catalogue, world.effects, world.items, truth, world.settings.behaviour)
    items = Search(scene, START_SECONDS).draw(language, topic, 1, rng)[:, 0]
    first = np.unique(users * len(catalogue) + items, return_index=True)[1]
    first.sort()
    return Past(users[first], items[first])


def _sign_up_seconds(ticks: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    offset = rng.integers(TICK_SECONDS - SESSION_SECONDS, size=len(ticks))
    return START_SECONDS + ticks * TICK_SECONDS + offset


def _joined_tables(tables: list[UserTable], count: int) -> UserTable:
    return UserTable(
        user_ids=tuple(user_id for table in tables for user_id in table.user_ids)[:count],
        countries=np.concatenate([table.countries for table in tables])[:count],
        languages=np.concatenate([table.languages for table in tables])[:count],
        age_bands=np.concatenate([table.age_bands for table in tables])[:count],
        signup_channels=np.concatenate([table.signup_channels for table in tables])[:count],
        signed_up_at=np.concatenate([table.signed_up_at for table in tables])[:count],
    )


def _joined_truths(truths: list[UserTruth], count: int) -> UserTruth:
    return UserTruth(
        tastes=np.concatenate([truth.tastes for truth in truths])[:count],
        language_logits=np.concatenate([truth.language_logits for truth in truths])[:count],
        sessions_per_day=np.concatenate([truth.sessions_per_day for truth in truths])[:count],
    )
