"""A logged slate is drawn again, and its chances with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.redraw import check_redraw, drawn_propensity, logged_user
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import PropensityKind
from streamrec.contracts.items import Item
from streamrec.events.records import from_json, to_json
from streamrec.items.follower import read_state
from streamrec.items.item_log import FileItemLog
from tests.unit.pipeline.conftest import make_catalogue

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = UserState("u", Segment(language="fi"), disliked=("item-29",))
CHANCES = np.array([0.7, 0.2, 0.1])


class Drawn:
    """Draws one of three items for the first place; the rest follows in order of the catalogue."""

    def retrieve(self, user, count, rng=None):
        ids = [f"item-{row:02d}" for row in range(3)]
        first = ids[rng.choice(3, p=CHANCES)] if rng is not None else ids[0]
        rest = [item_id for item_id in make_catalogue().item_ids if item_id not in (first, *user.not_shown)]
        ids = (first, *rest)[:count]
        return Candidates(tuple(ids), np.linspace(1, 0, len(ids), dtype=np.float32))

    def rank(self, _user, candidates):
        return candidates

    def rerank(self, candidates, _user, _current_latency_ms, *, slate_length):
        assert slate_length == 5
        return candidates


@pytest.fixture
def pipeline(item_table):
    model = Drawn()
    versions = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 7)
    return OfflinePipeline(LocalModels(model, model, model, model, versions), item_table)


def logged(pipeline, request_id="r", user=USER):
    """What the log gives back of an answer."""
    answer = pipeline.recommend(user, 5, request_id)
    return from_json(to_json(impression_of(request_id, user, answer, NOW, 1.0)))


def test_a_logged_slate_is_drawn_again(pipeline):
    firsts = set()
    for number in range(20):
        impression = logged(pipeline, f"r{number}")
        assert check_redraw(pipeline, impression) == USER
        firsts.add(impression.item_ids[0])
    assert len(firsts) > 1


def test_a_later_page_is_drawn_again_without_what_the_pages_before_showed(pipeline):
    first = logged(pipeline)
    shown = tuple(item_id for item_id in first.item_ids if item_id > "item-02")  # the first place is drawn
    user = replace(USER, shown=shown)
    second = logged(pipeline, user=user)
    assert not set(second.item_ids) & set(shown)
    assert check_redraw(pipeline, second) == user
    with pytest.raises(InvalidInputError, match="state_digest"):
        check_redraw(pipeline, replace(second, features=second.features | {"shown": []}))


def test_the_chance_of_each_item_at_its_position_is_estimated_by_further_draws(pipeline):
    impression = logged(pipeline)
    found = drawn_propensity(pipeline, impression, 399)
    assert (found.kind, found.draws) == (PropensityKind.MONTE_CARLO, 399)
    row = int(impression.item_ids[0][-2:])
    assert found.values[0] == pytest.approx(CHANCES[row], abs=0.08)
    assert found.values[3] == 1.0  # the fourth place holds the same item whoever is first
    assert drawn_propensity(pipeline, impression, 399) == found


def test_another_model_says_that_the_slate_differs(pipeline, item_table):
    impression = logged(pipeline)
    other = replace(impression, item_ids=impression.item_ids[::-1])
    with pytest.raises(InvalidInputError, match="first at position 1"):
        drawn_propensity(pipeline, other, 9)
    model = Drawn()
    versions = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 8)
    later = OfflinePipeline(LocalModels(model, model, model, model, versions), item_table)
    with pytest.raises(InvalidInputError, match="seed"):
        check_redraw(later, impression)


def test_the_items_are_those_that_the_request_saw(pipeline, item_table, tmp_path):
    FileItemLog(tmp_path / "items").append([Item("new", "", "a", "fi"), "item-03"])
    model, versions = Drawn(), dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 7)
    models = LocalModels(model, model, model, model, versions)
    later = OfflinePipeline(models, item_table, item_state=read_state(tmp_path / "items"))
    impression = logged(pipeline)
    with pytest.raises(InvalidInputError, match="item_ids"):
        check_redraw(later, impression)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": None}, "seed"),
        ({"features": None}, "features"),
        ({"state_digest": "0" * 64}, "state_digest"),
        ({"unit": "somebody else"}, "state_digest"),
        ({"item_ids": ()}, "item_ids"),
        ({"extension": {"skipped": ["ranking"]}}, "extension.skipped"),
        ({"extension": {"in_full": False}}, "extension.in_full"),
    ],
)
def test_what_cannot_be_drawn_again_is_said(pipeline, changes, field):
    impression = logged(pipeline)
    if "extension" in changes:
        changes = {"extension": impression.extension | changes["extension"]}
    elif "item_ids" in changes:
        changes |= {"scores": (), "propensity": impression.propensity}
    with pytest.raises(InvalidInputError) as raised:
        logged_user(replace(impression, **changes))
    assert raised.value.field == field


def test_no_draws_are_no_estimate(pipeline):
    with pytest.raises(InvalidInputError, match="draws"):
        drawn_propensity(pipeline, logged(pipeline), 0)


def test_a_slate_of_a_brown_out_is_drawn_again_with_as_little(pipeline):
    answer = pipeline.recommend(USER, 5, "r", effort=Effort.NO_RERANKING)
    impression = from_json(to_json(impression_of("r", USER, answer, NOW, 1.0)))
    asked = []
    recommend = pipeline.recommend
    pipeline.recommend = lambda *given, **named: asked.append(named["effort"]) or recommend(*given, **named)
    assert check_redraw(pipeline, impression) == USER
    drawn_propensity(pipeline, impression, 3)
    assert asked == [Effort.NO_RERANKING] * 5
