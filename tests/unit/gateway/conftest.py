"""The catalogue and stages of the pipeline's tests, and a feature store that a test can break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from streamrec.contracts.events import InteractionKind
from streamrec.features.online.user_reads import DirectReads, UserRow
from streamrec.features.store import ItemCounts, ItemTable, UserFeatures, without_pause
from streamrec.features.user_actions import UserAction, UserActivity
from tests.unit.pipeline.conftest import catalogue, item_table, stages

__all__ = ["catalogue", "item_table", "stages", "store"]

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


class StoreInMemory:
    """A feature store that a test can break."""

    def __init__(self, table: ItemTable, users: dict[str, UserFeatures]) -> None:
        self.table = table
        self.users = users
        self.reads_made = 0
        self.revisions_read = 0
        self.changes: Counter[str] = Counter()
        self.writes = 0
        self.item_reads = 0
        self.published = "first"
        self.made_at = LONG_AGO
        self.error: Exception | None = None
        self.item_error: Exception | None = None

    def user_features(self, user_id: str) -> UserFeatures | None:
        self.reads_made += 1
        if self.error is not None:
            raise self.error
        return self.users.get(user_id)

    def reads(self, _limits) -> DirectReads:
        return DirectReads(self.row, self.revision)

    def row(self, user_id) -> UserRow:
        return UserRow(self.user_features(user_id), b"%d" % self.changes[user_id])

    def revision(self, user_id) -> bytes:
        self.revisions_read += 1
        if self.error is not None:
            raise self.error
        return b"%d" % self.changes[user_id]

    def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        self.writes += 1
        if self.error is not None:
            raise self.error
        for user_id, acted in actions.items():
            row = self.users.get(user_id) or UserFeatures(user_id, "FI", "fi", "unknown", "unknown")
            self.users[user_id] = replace(row, activity=row.activity.with_actions(acted))
            self.changes[user_id] += 1

    def generation(self) -> str:
        return self.published

    def events_until(self) -> datetime | None:
        return LONG_AGO

    def item_table(self) -> ItemTable:
        return self.table

    def item_counts(self, pause=without_pause) -> ItemCounts:
        self.item_reads += 1
        pause()
        if self.item_error is not None:
            raise self.item_error
        return ItemCounts.of_table(self.table)

    def materialized_at(self) -> datetime:
        return self.made_at

    def newest_event_at(self) -> datetime | None:
        return LONG_AGO


@pytest.fixture
def store(item_table) -> StoreInMemory:
    played = [UserAction(f"item-{row:02d}", InteractionKind.PLAY, LONG_AGO) for row in range(6)]
    known = UserFeatures("known", "FI", "fi", "25-34", "organic", UserActivity().with_actions(played))
    return StoreInMemory(item_table, {"known": known})
