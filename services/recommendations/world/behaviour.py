"""What users do with a page, and whether they come back. Vectorised over users; pure but for ``rng``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.catalogue import WorldCatalogue
from services.recommendations.world.settings import BehaviourSettings, RetentionSettings
from services.recommendations.world.truth import SUCCESSORS, Effects, ItemTruth, UserTruth, match_logits

EVENTS: Final = ("click", "play", "complete")
"""Events by code, weakest first; values of `InteractionKind`. An interaction is logged as the strongest."""

NOTHING: Final = -1
"""No topic in focus, no last creator, no item."""


@dataclass(frozen=True)
class Scene:
    """The world that users behave in.

    Attributes:
        catalogue: What is known of the items.
        effects: What topics do.
        items: What is true of the items.
        users: What is true of the users; every ``user_rows`` below are rows of it.
        settings: Constants of the behaviour.
    """

    catalogue: WorldCatalogue
    effects: Effects
    items: ItemTruth
    users: UserTruth
    settings: BehaviourSettings


@dataclass
class Mood:
    """What is on the users' minds; changes as they consume.

    Attributes:
        focus: Shape (n,), int32: topic that the session is about, or `NOTHING`.
        last_creator: Shape (n,), int32: creator of the last item consumed, or `NOTHING`.
    """

    focus: NDArray[np.int32]
    last_creator: NDArray[np.int32]

    @classmethod
    def blank(cls, count: int) -> Mood:
        """Nothing on anybody's mind yet."""
        return cls(np.full(count, NOTHING, dtype=np.int32), np.full(count, NOTHING, dtype=np.int32))


@dataclass(frozen=True)
class Reaction:
    """What users did with one page each.

    Attributes:
        clicked: Shape (n, k).
        watched: Shape (n, k), float32: share watched, 0 where not clicked.
        events: Shape (n, k), int8: position in `EVENTS`, -1 where not clicked.
    """

    clicked: NDArray[np.bool_]
    watched: NDArray[np.float32]
    events: NDArray[np.int8]


def attention(positions: int, settings: BehaviourSettings) -> NDArray[np.float32]:
    """Shape (positions,): probability that a user looks at each position."""
    ranks = np.arange(1, positions + 1, dtype=np.float64)
    return (ranks**-settings.position_bias_exponent).astype(np.float32)


def begin_session(scene: Scene, users: NDArray[np.int64], mood: Mood, rng: np.random.Generator) -> None:
    """Set what the sessions of ``users`` are about: what the last one ended with, or something new."""
    interest = scene.settings.focus_taste_weight * (scene.users.tastes[users] @ scene.effects.topics.T)
    gumbel = rng.gumbel(size=interest.shape)
    fresh = (interest + gumbel).argmax(axis=1).astype(np.int32)
    carried = (rng.random(len(users)) < scene.settings.focus_carries_over) & (mood.focus[users] != NOTHING)
    mood.focus[users] = np.where(carried, mood.focus[users], fresh)


def browse(
    scene: Scene,
    users: NDArray[np.int64],
    slate: NDArray[np.int32],
    mood: Mood,
    consumed: NDArray[np.bool_],
    repeated: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Reaction:
    """Show each user a page; updates ``mood``.

    A click needs a look at the position and interest in the item, independent of each other (position-based
    model). Appeal drives the click, quality the share watched.

    Args:
        scene: The world.
        users: Shape (n,), rows of users, distinct.
        slate: Shape (n, k), item rows, first position first; `NOTHING` leaves a position empty.
        mood: Of all users.
        consumed: Shape (n, k): the user has consumed the item before and will not again.
        repeated: Shape (n, k): the item was already shown in this session.
        rng: Source of chance.
    """
    settings = scene.settings
    shown = slate != NOTHING
    items = np.where(shown, slate, 0)
    wish = interest_logits(scene, users, items, mood)
    interest = _sigmoid(settings.click_bias + wish + scene.items.appeal[items])
    chance = attention(slate.shape[1], settings) * interest
    chance *= np.where(repeated, settings.repeat_factor, 1.0)
    chance[consumed | ~shown] = 0.0
    clicked = rng.random(slate.shape, dtype=np.float32) < chance

    row, column = np.nonzero(clicked)
    share, event = _watch(scene, items[row, column], wish[row, column], rng)
    watched = np.zeros(slate.shape, dtype=np.float32)
    watched[row, column] = share
    events = np.full(slate.shape, -1, dtype=np.int8)
    events[row, column] = event
    active = np.flatnonzero(clicked.any(axis=1))
    last_position = clicked.shape[1] - 1 - clicked[active, ::-1].argmax(axis=1)
    _move_on(scene, users[active], items[active, last_position], mood, rng)
    return Reaction(clicked, watched, events)


def interest_logits(
    scene: Scene, users: NDArray[np.int64], items: NDArray[np.int32], mood: Mood
) -> NDArray[np.float32]:
    """Shape (n, k): interest of ``users`` (n,) in ``items`` (n, k) right now, appeal aside."""
    settings, catalogue = scene.settings, scene.catalogue
    logits = match_logits(scene.users, users, scene.items, catalogue.languages, items, settings)
    logits += settings.focus_bonus * (catalogue.topics[items, 0] == mood.focus[users, None])
    logits += settings.creator_bonus * (catalogue.creators[items] == mood.last_creator[users, None])
    return logits


def consume(
    scene: Scene,
    users: NDArray[np.int64],
    items: NDArray[np.int32],
    mood: Mood,
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    """Let each of ``users`` (n,) consume an item that user has found without help; updates ``mood``.

    Returns:
        Shape (n,), int8: position in `EVENTS`.
    """
    wish = interest_logits(scene, users, items[:, None], mood)[:, 0]
    _, events = _watch(scene, items, wish, rng)
    _move_on(scene, users, items, mood, rng)
    return events


def wants_next_page(
    reaction: Reaction, settings: BehaviourSettings, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Shape (n,): who asks for another page."""
    found = np.asarray(reaction.clicked.any(axis=1))
    return rng.random(len(found)) < settings.next_page_base + settings.next_page_bonus * found


def page_satisfaction(reaction: Reaction, settings: RetentionSettings) -> NDArray[np.float32]:
    """Shape (n,), between 0 and 1: satisfaction with the page, from what was really consumed."""
    total = reaction.watched.sum(axis=1)
    return np.asarray(1.0 - np.exp(-settings.page_satisfaction_rate * total), dtype=np.float32)


def leave_probability(
    satisfaction: NDArray[np.float32], sessions: NDArray[np.int64], settings: RetentionSettings
) -> NDArray[np.float64]:
    """Shape (n,): probability of leaving for good after a session.

    ``(floor + range * sigmoid((pivot - satisfaction) / temperature)) / (1 + (sessions - 1) / habit)``.

    Args:
        satisfaction: Shape (n,), running satisfaction, this session included.
        sessions: Shape (n,), sessions so far, this one included.
        settings: Constants.
    """
    discontent = _sigmoid((settings.leave_pivot - satisfaction) / settings.leave_temperature)
    habit = 1.0 + (sessions - 1) / settings.habit_sessions
    return (settings.leave_floor + settings.leave_range * discontent.astype(np.float64)) / habit


def return_factor(satisfaction: NDArray[np.float32], settings: RetentionSettings) -> NDArray[np.float32]:
    """Shape (n,): factor on the session rate."""
    return settings.return_base + settings.return_slope * satisfaction


def _watch(
    scene: Scene, items: NDArray[np.int32], wish: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Share watched and event of opened ``items`` (n,) with interest ``wish`` (n,)."""
    settings = scene.settings
    noise = settings.watch_noise_sd * rng.standard_normal(len(items))
    share = _sigmoid(settings.watch_bias + wish + scene.items.quality[items] + noise)
    events = (share >= settings.play_share).astype(np.int8) + (share >= settings.complete_share)
    return share, events.astype(np.int8)


def _move_on(
    scene: Scene,
    users: NDArray[np.int64],
    items: NDArray[np.int32],
    mood: Mood,
    rng: np.random.Generator,
) -> None:
    """The last item consumed, one a user, decides what the user wants next."""
    topic = scene.catalogue.topics[items, 0]
    successor = scene.effects.successors[topic, rng.integers(SUCCESSORS, size=len(users))]
    moves = rng.random(len(users)) < scene.settings.focus_moves
    mood.focus[users] = np.where(moves, successor, topic)
    mood.last_creator[users] = scene.catalogue.creators[items]


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)
