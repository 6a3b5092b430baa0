"""Runs of the closed loop: the logged window under the old policy, and arms of new users under any policy."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.recommendations.world.best_known import KnowsTheTruth
from services.recommendations.world.catalogue import WorldCatalogue
from services.recommendations.world.policies import Policy, PopularityThenRelevance
from services.recommendations.world.settings import (
    MAXIMUM_USERS,
    START_SECONDS,
    TICKS_PER_DAY,
    WorldSettings,
)
from services.recommendations.world.simulation import FOLLOW_UP_DAYS, Run, Simulation
from services.recommendations.world.summary import RunSummary, summarise
from services.recommendations.world.world import World, build_world, draw_cohort, draw_past, stream
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress

__all__ = [
    "ARM_DAYS",
    "Run",
    "observable_catalogue",
    "run_arm",
    "run_best_known",
    "run_window",
]

ARM_DAYS: Final = 1 + FOLLOW_UP_DAYS + 1
"""Days of an arm: everybody signs up on the first and is followed for eight days."""


def observable_catalogue(settings: WorldSettings) -> WorldCatalogue:
    """Return the catalogue that policies see; rows as in the world's folder."""
    return build_world(settings).catalogue


def run_window(world: World, progress: Progress) -> tuple[Run, RunSummary]:
    """Simulate the logged window: the world's users under the old policy."""
    run = _window_simulation(world).run(
        world.settings.days * TICKS_PER_DAY,
        progress,
        f"Simulate {world.settings.days} days of {len(world.users)} users",
    )
    bootstrap = stream(world.settings, "window", "bootstrap")
    return run, summarise(run, world.users, world.catalogue, START_SECONDS, bootstrap)


def run_arm(
    settings: WorldSettings, policy: Policy, users: int, progress: Progress, *, cohort: str = "arm"
) -> tuple[Run, RunSummary]:
    """Put brand-new users under ``policy`` for the nine days after the logged window.

    Every arm with the same ``cohort`` gets the same users with the same tastes and signup times, so arms
    differ by their policies alone. Items are named by row: the row of an item in the world's folder.

    Args:
        settings: The world.
        policy: What shows pages. It sees observables only.
        users: How many users sign up.
        progress: Shows the ticks.
        cohort: Name of the cohort; another name is another draw of users.

    Raises:
        InvalidInputError: ``users`` is out of bounds, or the policy shows a page that cannot be shown.
    """
    _check_users(users)
    world = build_world(settings)
    return _run_arm(world, policy, users, progress, cohort)


def run_best_known(
    settings: WorldSettings, users: int, progress: Progress, *, cohort: str = "arm"
) -> tuple[Run, RunSummary]:
    """The arm of a policy that knows every taste: what no recommender can beat by much. See `run_arm`."""
    _check_users(users)
    world = build_world(settings)
    _, truth = draw_cohort(world, users, cohort)
    return _run_arm(world, KnowsTheTruth(world, truth), users, progress, cohort)


def _check_users(users: int) -> None:
    if not 1 <= users <= MAXIMUM_USERS:
        raise InvalidInputError("users", f"must lie between 1 and {MAXIMUM_USERS}, not {users}")


def _run_arm(
    world: World, policy: Policy, users: int, progress: Progress, cohort: str
) -> tuple[Run, RunSummary]:
    settings = world.settings
    table, truth = draw_cohort(world, users, cohort)
    rng = stream(settings, "arm", cohort)
    first_tick = settings.days * TICKS_PER_DAY
    simulation = Simulation(world, table, truth, policy, rng, first_tick=first_tick)
    run = simulation.run(ARM_DAYS * TICKS_PER_DAY, progress, f"Follow {users} new users")
    bootstrap = stream(settings, "arm", cohort, "bootstrap")
    return run, summarise(run, table, world.catalogue, settings.end_seconds, bootstrap)


def _window_simulation(world: World) -> Simulation:
    past = draw_past(world)
    counts = np.bincount(past.items, minlength=len(world.catalogue)).astype(np.float64)
    policy = PopularityThenRelevance(world.catalogue, counts, START_SECONDS)
    rng = stream(world.settings, "window")
    return Simulation(world, world.users, world.user_truth, policy, rng, past=past)
