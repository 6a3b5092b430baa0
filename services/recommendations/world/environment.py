"""The users of a simulated world as traffic: ask who they are, show them a page, get what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.recommendations.contracts.candidates import Segment
from services.recommendations.world.behaviour import EVENTS, Mood, Scene, begin_session, browse
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.truth import UserTruth
from services.recommendations.world.users import UserTable
from services.recommendations.world.world import build_world, draw_cohort
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.events import InteractionKind
from streamrec.stats.random_state import generator_for

MAXIMUM_SLATE: Final = 500
MAXIMUM_NEW_USERS: Final = 100_000

_COHORT: Final = "traffic"


@dataclass(frozen=True, slots=True)
class TrafficUser:
    """A user who may ask for recommendations."""

    user_id: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class Response:
    """One thing that a user does with a page.

    Attributes:
        item_id: With which item.
        kind: The strongest of click, play and complete.
        value: Seconds watched.
        position: Where the item stood, from 0.
    """

    item_id: str
    kind: InteractionKind
    value: float
    position: int


class WorldEnvironment:
    """Rebuilds the users of a world from its settings and lets them react; their tastes stay inside.

    Args:
        settings: Those that the data folder was generated with.
        new_users: How many brand-new users to keep ready.

    Raises:
        InvalidInputError: ``new_users`` is out of bounds.
    """

    def __init__(self, settings: WorldSettings, new_users: int = 1_000) -> None:
        if not 0 <= new_users <= MAXIMUM_NEW_USERS:
            raise InvalidInputError(
                "new_users", f"must lie between 0 and {MAXIMUM_NEW_USERS}, not {new_users}"
            )
        world = build_world(settings)
        self._world = world
        self._settings = settings
        self._catalogue = world.catalogue
        self._durations = world.items.duration_seconds
        self._new, self._new_truth = draw_cohort(world, new_users, _COHORT)
        self._known_row = {user_id: row for row, user_id in enumerate(world.users.user_ids)}
        self._new_row = {user_id: row for row, user_id in enumerate(self._new.user_ids)}

    def known_users(self, count: int) -> list[TrafficUser]:
        """Return the first ``count`` users of the logged window, or all when there are fewer."""
        return _traffic(self._world.users, min(max(count, 0), len(self._world.users)))

    def new_users(self, count: int) -> list[TrafficUser]:
        """Return ``count`` users that no log knows.

        Raises:
            InvalidInputError: More are asked for than were made ready.
        """
        if not 0 <= count <= len(self._new):
            raise InvalidInputError("count", f"must lie between 0 and {len(self._new)}, not {count}")
        return _traffic(self._new, count)

    def respond(self, user_id: str, slate: Sequence[str], request_number: int) -> list[Response]:
        """Show ``slate`` to a user; the same user, slate and number give the same answer in every process.

        Nothing is kept between calls: the mood of a session (see `behaviour.begin_session`) is drawn anew
        for each request, and filtering what the user has consumed is the task of who shows.

        Args:
            user_id: A known or a new user.
            slate: Item ids, first position first, at most `MAXIMUM_SLATE`, all of the catalogue.
            request_number: Counts the requests of the user.

        Returns:
            What the user does, by position; empty when nothing catches the eye.

        Raises:
            NotFoundError: The user or an item is not of this world.
            InvalidInputError: The slate is too long or shows an item twice.
        """
        if user_id not in self._known_row and user_id not in self._new_row:
            raise NotFoundError(f"user {user_id!r} is not of this world; was it made with other settings?")
        if len(slate) > MAXIMUM_SLATE:
            raise InvalidInputError("slate", f"has {len(slate)} items, at most {MAXIMUM_SLATE} can be shown")
        if len(set(slate)) != len(slate):
            raise InvalidInputError("slate", "shows an item twice")
        unknown = [item_id for item_id in slate if item_id not in self._catalogue.row_of]
        if unknown:
            raise NotFoundError(f"item {unknown[0]!r} is not of this world; was it made with other settings?")
        if not slate:
            return []
        scene = self._scene_of(user_id)
        rng = generator_for("world", str(self._settings.seed), "respond", user_id, str(request_number))
        items = np.array([[self._catalogue.row_of[item_id] for item_id in slate]], dtype=np.int32)
        user = np.zeros(1, dtype=np.int64)
        nothing = np.zeros(items.shape, dtype=np.bool_)
        mood = Mood.blank(1)
        begin_session(scene, user, mood, rng)
        reaction = browse(scene, user, items, mood, nothing, nothing, rng)
        return [
            Response(
                item_id=slate[position],
                kind=InteractionKind(EVENTS[reaction.events[0, position]]),
                value=round(float(reaction.watched[0, position] * self._durations[items[0, position]]), 1),
                position=position,
            )
            for position in np.flatnonzero(reaction.clicked[0]).tolist()
        ]

    def _scene_of(self, user_id: str) -> Scene:
        """The world with this user as its only one."""
        if user_id in self._known_row:
            row, truth = self._known_row[user_id], self._world.user_truth
        else:
            row, truth = self._new_row[user_id], self._new_truth
        alone = UserTruth(
            truth.tastes[row : row + 1],
            truth.language_logits[row : row + 1],
            truth.sessions_per_day[row : row + 1],
        )
        world = self._world
        return Scene(world.catalogue, world.effects, world.items, alone, self._settings.behaviour)


def _traffic(users: UserTable, count: int) -> list[TrafficUser]:
    return [TrafficUser(users.user_ids[row], users.segment(row)) for row in range(count)]
