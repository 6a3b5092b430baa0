"""Who sends requests, and what those users do with the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.client import UserEvent
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.stats.random_state import generator_for

VISITS_PER_NEW_USER: Final = 5
VISITS_PER_KNOWN_USER: Final = 2
"""At least two where there are enough requests: the second answer shows what the events changed."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to be made.

    Attributes:
        user_id: Who.
        known_user: Whether the models and features know the user.
        number: 0 for the user's first request of the run.
        context: Segment attributes that the client sends along.
    """

    user_id: str
    known_user: bool
    number: int
    context: Mapping[str, str]


class Audience(Protocol):
    """The users behind the traffic. Called from several threads, never twice at once for one user."""

    def known_users(self) -> Sequence[str]:
        """Return the users that have a history."""
        ...

    def new_user(self, index: int) -> tuple[str, Mapping[str, str]]:
        """Return id and segment attributes of the new user number ``index``; the same for the same index."""
        ...

    def respond(self, visit: Visit, item_ids: Sequence[str], request_id: str) -> Sequence[UserEvent]:
        """Return the events that the user sends back about a slate, oldest first."""
        ...


def plan_visits(
    audience: Audience, *, requests: int, new_user_share: float, rng: np.random.Generator
) -> list[Visit]:
    """Draw who asks when: known and new users mixed at random, each user's own visits in order.

    Args:
        audience: The users.
        requests: Length of the plan.
        new_user_share: Share of the requests that come from new users, in 0..1. All of them where there are
            no known users.
        rng: Source of the order.
    """
    known = np.asarray(audience.known_users(), dtype=object)
    new_requests = requests if len(known) == 0 else round(requests * new_user_share)
    known_requests = requests - new_requests
    users: list[tuple[str, bool, Mapping[str, str]]] = []
    for index in range(-(-new_requests // VISITS_PER_NEW_USER)):
        user_id, context = audience.new_user(index)
        users += [(user_id, False, context)] * min(
            VISITS_PER_NEW_USER, new_requests - index * VISITS_PER_NEW_USER
        )
    if known_requests > 0:
        visited = rng.permutation(known)[: max(1, known_requests // VISITS_PER_KNOWN_USER)]
        users += [(str(visited[turn % len(visited)]), True, {}) for turn in range(known_requests)]
    counts: dict[str, int] = {}
    plan: list[Visit] = []
    for position in rng.permutation(len(users)):
        user_id, known_user, context = users[position]
        plan.append(Visit(user_id, known_user, counts.get(user_id, 0), context))
        counts[user_id] = counts.get(user_id, 0) + 1
    return plan


class ReplayAudience:
    """Real data replayed.

    A known user plays the held-out last item after the first answer, whether or not it was in the slate, and
    does nothing after later answers: the data says no more. The data knows nothing of new users, so they
    follow a rule: each has one topic, drawn by the topics' share of the interactions, and clicks on the first
    item of the slate that has it and that the user has not clicked before. Figures about new users in a
    replay describe the machinery, not people.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        interaction_counts: NDArray[np.int64],
        held_out: Mapping[str, str],
        *,
        known_users: Sequence[str],
        run: str,
    ) -> None:
        """Prepare the replay.

        Args:
            catalogue: Every item.
            interaction_counts: Shape (items,), interactions of each item.
            held_out: Test item by user id; the models must not have seen these interactions.
            known_users: Every user with a history.
            run: Distinguishes the new users' ids from those of other runs over the same stores.
        """
        self._held_out = held_out
        self._known_users = tuple(known_users)
        self._run = run
        self._topics_of = dict(zip(catalogue.item_ids, catalogue.topics, strict=True))
        counts: dict[str, int] = {}
        for topics, count in zip(catalogue.topics, interaction_counts.tolist(), strict=True):
            for topic in topics:
                counts[topic] = counts.get(topic, 0) + count
        self._topics = tuple(sorted(topic for topic, count in counts.items() if count > 0))
        weights = np.array([counts[topic] for topic in self._topics], dtype=np.float64)
        self._topic_shares = weights / weights.sum() if len(weights) else weights
        self._clicked: dict[str, set[str]] = {}

    def known_users(self) -> Sequence[str]:
        """Return the users that have a history."""
        return self._known_users

    def new_user(self, index: int) -> tuple[str, Mapping[str, str]]:
        """Return a user of whom nothing is known."""
        return f"new-{self._run}-{index:05d}", {}

    def respond(self, visit: Visit, item_ids: Sequence[str], request_id: str) -> Sequence[UserEvent]:
        """Play the held-out item, or click by the rule of new users."""
        if visit.known_user:
            item_id = self._held_out.get(visit.user_id)
            if visit.number > 0 or item_id is None:
                return ()
            shown = item_id in item_ids
            return (UserEvent(visit.user_id, item_id, InteractionKind.PLAY, request_id if shown else None),)
        topic = self.favourite_topic(visit.user_id)
        clicked = self._clicked.setdefault(visit.user_id, set())
        for item_id in item_ids:
            if topic is not None and topic in self._topics_of.get(item_id, ()) and item_id not in clicked:
                clicked.add(item_id)
                return (UserEvent(visit.user_id, item_id, InteractionKind.CLICK, request_id),)
        return ()

    def favourite_topic(self, user_id: str) -> str | None:
        """Return the new user's topic, the same at every call; None where no item has a topic."""
        if not self._topics:
            return None
        drawn = generator_for("favourite topic", user_id).choice(len(self._topics), p=self._topic_shares)
        return self._topics[int(drawn)]
