"""The process that somebody would write instead: what it makes of rows and events."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.load_tests.monolith import Ask, Event, Monolith
from services.recommendations.pipeline.pipeline import PipelineAnswer
from streamrec.contracts.errors import DependencyError
from streamrec.contracts.events import InteractionKind
from streamrec.features.online.user_reads import UserRow
from streamrec.features.store import UserFeatures


@dataclass
class Store:
    """Rows in memory that counts what it is asked."""

    down: bool = False
    reads_of: list[str] = field(default_factory=list)
    added: dict = field(default_factory=dict)

    def reads(self, _limits) -> Store:
        return self

    async def row(self, user_id: str) -> UserRow:
        self.reads_of.append(user_id)
        if self.down:
            raise DependencyError("the store is down")
        return UserRow(UserFeatures(user_id, "DE", "de", "25-34", "organic"), b"1")

    def add_actions(self, actions) -> None:
        self.added.update(actions)


@dataclass
class Pipeline:
    """Answers with one item, and keeps whom it was asked about."""

    users: list[UserState] = field(default_factory=list)

    async def recommend(
        self, user: UserState, _k: int, _request_id: str, _deadline: object
    ) -> PipelineAnswer:
        self.users.append(user)
        return PipelineAnswer(
            ("item-1",), (0.5,), Rung.RANKED, False, (), (), {"ranking": 1}, {"ranking": 1.5}
        )


@pytest.fixture
def pipeline():
    return Pipeline()


def test_a_row_is_read_once_until_the_user_acts(pipeline, tmp_path) -> None:
    store = Store()
    monolith = Monolith(pipeline, store, tmp_path / "events.jsonl")
    event = Event(
        event_id="e",
        user_id="ann",
        item_id="item-1",
        kind=InteractionKind.PLAY,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    async def ask_act_and_ask() -> dict:
        await monolith.recommend(Ask(user_id="ann", k=1))
        answer = await monolith.recommend(Ask(user_id="ann", k=1))
        assert store.reads_of == ["ann"]
        await monolith.take([event])
        await monolith.recommend(Ask(user_id="ann", k=1))
        return answer

    answer = asyncio.run(ask_act_and_ask())
    assert store.reads_of == ["ann", "ann"]
    assert [action.item_id for action in store.added["ann"]] == ["item-1"]
    assert json.loads((tmp_path / "events.jsonl").read_text())["event_id"] == "e"
    assert answer["items"] == [{"item_id": "item-1", "position": 0, "score": 0.5}]
    assert set(answer["stages_ms"]) == {"features", "ranking"}
    assert answer["degraded"] is False
    assert pipeline.users[0].segment.language == "de"


def test_whose_row_cannot_be_read_is_served_like_a_new_user_and_it_says_so(pipeline, tmp_path) -> None:
    monolith = Monolith(pipeline, Store(down=True), tmp_path / "events.jsonl")
    answer = asyncio.run(monolith.recommend(Ask(user_id="ann", k=1, context={"language": "fi"})))
    assert answer["degraded"] is True
    assert pipeline.users == [UserState("ann", Segment(language="fi"))]
