"""The users of the simulated world as traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from services.cli.demo.audience import Visit
from services.recommendations.world.environment import WorldEnvironment
from streamrec.client import UserEvent


class WorldAudience:
    """Users of the logged window and brand-new ones; what they do with a slate is the world's answer."""

    def __init__(self, environment: WorldEnvironment, *, known_users: int, new_users: int) -> None:
        """Take the first ``known_users`` of the window and ``new_users`` that no log knows."""
        self._environment = environment
        self._known = tuple(user.user_id for user in environment.known_users(known_users))
        self._new = environment.new_users(new_users)

    def known_users(self) -> Sequence[str]:
        """Return the users of the logged window."""
        return self._known

    def new_user(self, index: int) -> tuple[str, Mapping[str, str]]:
        """Return a new user with the segment that is observed at sign-up."""
        user = self._new[index]
        return user.user_id, asdict(user.segment)

    def respond(self, visit: Visit, item_ids: Sequence[str], request_id: str) -> Sequence[UserEvent]:
        """Return what the world's user does with the slate."""
        return tuple(
            UserEvent(visit.user_id, response.item_id, response.kind, request_id, response.value)
            for response in self._environment.respond(visit.user_id, item_ids, visit.number)
        )
