"""The catalogue and stages of the pipeline's tests, and a feature store that a test can break."""

from __future__ import annotations

import pytest

from streamrec.features.store import ItemTable, UserFeatures
from tests.unit.pipeline.conftest import catalogue, item_table, stages

__all__ = ["catalogue", "item_table", "stages", "store"]


class StoreInMemory:
    """A feature store that a test can break."""

    def __init__(self, table: ItemTable, users: dict[str, UserFeatures]) -> None:
        self.table = table
        self.users = users
        self.reads = 0
        self.error: Exception | None = None

    def user_features(self, user_id: str) -> UserFeatures | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.users.get(user_id)

    def write_history(self, user_id: str, history: tuple[str, ...], updated_at) -> None:
        if self.error is not None:
            raise self.error
        self.users[user_id] = UserFeatures(user_id, "FI", "fi", "unknown", "unknown", history, updated_at)

    def item_table(self) -> ItemTable:
        return self.table


@pytest.fixture
def store(item_table) -> StoreInMemory:
    history = tuple(f"item-{row:02d}" for row in range(6))
    return StoreInMemory(
        item_table, {"known": UserFeatures("known", "FI", "fi", "25-34", "organic", history, None)}
    )
