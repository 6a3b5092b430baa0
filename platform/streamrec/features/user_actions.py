"""What a user did, in the order of time: pure, and the same wherever it is put together.

Adding actions is a union of sets, bounded to the newest. So it does not matter in which order actions arrive,
nor how often one does: a write that is repeated after an error, after a crash, or from the event log after a
materialisation changes nothing that is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind

SKIPS_LIMIT: Final = 512
"""Skips that are kept of a user, the newest ones: weak evidence, which ages."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UserAction:
    """One thing that a user did with an item.

    Attributes:
        item_id: With what.
        kind: What.
        occurred_at: When; with a time zone.
    """

    item_id: str
    kind: InteractionKind
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class TimedItems:
    """Items, oldest first, with the time of each. An item may stand there several times.

    Attributes:
        item_ids: Length n.
        times_us: Length n: microseconds since 1970, UTC, not falling.
    """

    item_ids: tuple[str, ...] = ()
    times_us: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.item_ids) != len(self.times_us):
            raise ValueError(f"{len(self.item_ids)} items with {len(self.times_us)} times")

    def __len__(self) -> int:
        return len(self.item_ids)

    def with_items(self, added: Iterable[tuple[int, str]], limit: int) -> TimedItems:
        """Return the newest ``limit`` of these and of ``added``, pairs of a time and an item, each once.

        Of one time, what is there already stands first, then the added ones by item: the order in which
        `streamrec.datasets.feedback` puts them.
        """
        known = set(zip(self.times_us, self.item_ids, strict=True))
        new = sorted(set(added) - known)
        if not new:
            return self
        both = [*zip(self.times_us, self.item_ids, strict=True), *new]
        both.sort(key=itemgetter(0))
        newest = both[-limit:]
        return TimedItems(tuple(item for _, item in newest), tuple(time for time, _ in newest))

    @classmethod
    def in_order(cls, items: Iterable[tuple[int, str]], limit: int) -> TimedItems:
        """The newest ``limit`` of these, each once; those of one time stay in the order that they come in."""
        ordered = sorted(dict.fromkeys(items), key=itemgetter(0))[-limit:]
        return cls(tuple(item for _, item in ordered), tuple(time for time, _ in ordered))

    @property
    def newest_at(self) -> datetime | None:
        """Time of the newest one, UTC."""
        return moment(self.times_us[-1]) if self.times_us else None


@dataclass(frozen=True, slots=True)
class UserActivity:
    """Everything that is kept of what a user did.

    Attributes:
        history: Positive actions, the newest `HISTORY_LIMIT`.
        disliked: Dislikes, as many. They have room of their own: plays never push a dislike out.
        skipped: Skips, the newest `SKIPS_LIMIT`.
    """

    history: TimedItems = field(default_factory=TimedItems)
    disliked: TimedItems = field(default_factory=TimedItems)
    skipped: TimedItems = field(default_factory=TimedItems)

    def with_actions(self, actions: Iterable[UserAction]) -> UserActivity:
        """Return the activity with ``actions`` added, each in its place by time."""
        positive, disliked, skipped = _by_place(actions)
        return UserActivity(
            self.history.with_items(positive, HISTORY_LIMIT),
            self.disliked.with_items(disliked, HISTORY_LIMIT),
            self.skipped.with_items(skipped, SKIPS_LIMIT),
        )

    @classmethod
    def in_order(cls, actions: Iterable[UserAction]) -> UserActivity:
        """The activity of ``actions`` out of a data folder, whose order counts where times are equal."""
        positive, disliked, skipped = _by_place(actions)
        return cls(
            TimedItems.in_order(positive, HISTORY_LIMIT),
            TimedItems.in_order(disliked, HISTORY_LIMIT),
            TimedItems.in_order(skipped, SKIPS_LIMIT),
        )


_Timed = list[tuple[int, str]]


def _by_place(actions: Iterable[UserAction]) -> tuple[_Timed, _Timed, _Timed]:
    """Positive actions, dislikes and skips, as pairs of a time and an item."""
    positive: _Timed = []
    disliked: _Timed = []
    skipped: _Timed = []
    places = {InteractionKind.DISLIKE: disliked, InteractionKind.SKIP: skipped}
    for action in actions:
        place = places.get(InteractionKind(action.kind), positive)
        place.append((microseconds(action.occurred_at), action.item_id))
    return positive, disliked, skipped


def microseconds(at: datetime) -> int:
    """Microseconds from 1970 to ``at``, which has a time zone; exact, and free of the machine's own zone."""
    return (at - _EPOCH) // _MICROSECOND


def moment(time_us: int) -> datetime:
    """The time that is ``time_us`` microseconds after 1970, UTC."""
    return _EPOCH + timedelta(microseconds=time_us)
