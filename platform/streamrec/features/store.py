"""The port to the feature store, and the rows that it hands out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamrec.datasets.catalogue import Catalogue
from streamrec.features.online.user_reads import ReadLimits, UserReads
from streamrec.features.user_actions import UserAction, UserActivity


@dataclass(frozen=True, slots=True)
class UserFeatures:
    """One user's row, as serving reads it.

    Attributes:
        user_id: Who.
        country, language, age_band, signup_channel: Segment attributes, ``unknown`` where not known.
        activity: What the user did, as far as it is kept.
    """

    user_id: str
    country: str
    language: str
    age_band: str
    signup_channel: str
    activity: UserActivity = field(default_factory=UserActivity)

    @property
    def history(self) -> tuple[str, ...]:
        """Items of the positive actions, oldest first."""
        return self.activity.history.item_ids

    @property
    def updated_at(self) -> datetime | None:
        """Time of the newest positive action, UTC; None without any."""
        return self.activity.history.newest_at


@dataclass(frozen=True)
class ItemTable:
    """Every item with its features: small enough to be cached whole in a replica.

    Attributes:
        catalogue: Every item.
        interaction_counts: Shape (n,), int64: interactions of each item up to materialisation.
        revision: SHA-256 of the content; changes whenever the table does.
    """

    catalogue: Catalogue
    interaction_counts: NDArray[np.int64]
    revision: str


@dataclass(frozen=True)
class ItemCounts:
    """Of every item what it takes to show popular ones: small, and quick to read.

    Attributes:
        item_ids: Length n, sorted.
        row_of: Row by item id.
        languages: Distinct creator languages, sorted.
        language_codes: Shape (n,), int32: position of each item's creator language in ``languages``.
        interaction_counts: Shape (n,), int64: interactions of each item up to materialisation.
        revision: Another one after every materialisation.
    """

    item_ids: tuple[str, ...]
    row_of: Mapping[str, int]
    languages: tuple[str, ...]
    language_codes: NDArray[np.int32]
    interaction_counts: NDArray[np.int64]
    revision: str

    @classmethod
    def of_table(cls, table: ItemTable) -> Self:
        """The same of a whole item table."""
        catalogue = table.catalogue
        return cls(
            catalogue.item_ids,
            catalogue.row_of,
            catalogue.languages,
            catalogue.language_codes,
            table.interaction_counts,
            table.revision,
        )


def without_pause() -> None:
    """What a reader does between two steps that nobody waits for: nothing."""


class FeatureStore(Protocol):
    """Online features. Blocking: call it from a worker thread where an event loop must not wait."""

    def user_features(self, user_id: str) -> UserFeatures | None:
        """Return the user's row, or None for a user that the store does not know.

        Raises:
            DependencyError: The online store did not answer.
        """
        ...

    def reads(self, limits: ReadLimits) -> UserReads:
        """Return the same reads for an event loop."""
        ...

    def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        """Add what users did to their rows online; creates the row of a user that has none.

        Actions take their place by time. To add one again changes nothing, so a call whose outcome is not
        known may be repeated. Safe beside other writers, also of other processes, and beside a
        materialisation.

        Args:
            actions: By user id. Users are written one by one: after an error some may have been, some not.

        Raises:
            DependencyError: The online store did not answer.
            InvalidInputError: A user id cannot be a key, or a time has no zone or lies in the future.
                Nothing was written.
            NotReadyError: Nothing has been materialised yet.
        """
        ...

    def generation(self) -> str:
        """Name what is published: another name after every materialisation, empty where there is none.

        Cheap and never blocking: whoever caches rows asks it often.
        """
        ...

    def events_until(self) -> datetime | None:
        """Return up to when the rows hold what users did, by the platform's clock, UTC.

        What the event log received since may be missing from them, where whoever took it was stopped before
        it wrote the rows. None: nothing is known of that.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...

    def materialized_at(self) -> datetime:
        """Return when what is published was materialised, UTC. Cheap and never blocking.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...

    def newest_event_at(self) -> datetime | None:
        """Return the time of the newest event that the published rows were computed from, UTC.

        None: without any event, or where the materialisation did not say.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...

    def item_counts(self, pause: Callable[[], None] = without_pause) -> ItemCounts:
        """Return what `ItemCounts` holds of all items.

        Args:
            pause: Called after each step of about a millisecond that keeps the interpreter's lock, so that a
                thread which reads beside requests can let them go first.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...

    def item_table(self) -> ItemTable:
        """Return all items with their features.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        ...
