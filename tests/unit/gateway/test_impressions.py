"""What an answer leaves in the event log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rfc8785

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import StageReply
from services.recommendations.contracts.state_document import (
    MAXIMUM_STATE_BYTES,
    state_digest,
    state_document,
    state_of,
)
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.pipeline.local_stages import draw_seed
from services.recommendations.pipeline.pipeline import PipelineAnswer
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import UNKNOWN_PROPENSITY, Propensity, ScoredItems
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.units import keeps_candidates
from streamrec.events.records import from_json, to_json
from tests.unit.gateway.service import Service

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = UserState("u", Segment(country="FI", language="fi"), ("a", "päivä", '\u2028\x1f"\\'))
ANSWER = PipelineAnswer(
    item_ids=("x", "y"),
    scores=(2.0, 1.0),
    rung=Rung.RANKED,
    cold_start=False,
    skipped=(),
    failed=(),
    model_versions={"retrieval": 1, "reranking": 4},
    stages_ms={"retrieval": 1.0, "reranking": 1.0},
    candidates=Candidates(("y", "x", "z"), np.array([2.0, 1.0, 0.5], dtype=np.float32)),
)
SAMPLED = next(f"r{number}" for number in range(10_000) if keeps_candidates(f"r{number}"))


def test_a_deterministic_answer_is_certain():
    impression = impression_of("r", USER, ANSWER, NOW, 12.5)
    assert impression.propensity == Propensity.certain(2)
    assert impression.seed is None
    assert impression.slot == "recommendations.reranking"
    assert impression.predicted_at == NOW
    assert from_json(to_json(impression)) == impression


def test_it_says_who_was_not_a_champion():
    roles = {
        "retrieval": ServingRole.CHAMPION,
        "ranking": ServingRole.CHALLENGER,
        "reranking": ServingRole.HOLDBACK,
    }
    impression = impression_of("r", USER, replace(ANSWER, roles=roles), NOW, 12.5)
    assert impression.role is ServingRole.HOLDBACK
    extension = ImpressionExtension.from_json(impression.extension)
    assert extension.roles == {"ranking": ServingRole.CHALLENGER, "reranking": ServingRole.HOLDBACK}
    assert from_json(to_json(impression)) == impression


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": "0" * 16},
        {"in_full": False},
        {"skipped": ("ranking",), "rung": Rung.RETRIEVAL_ORDER},
        {"skipped": ("features",)},
        {"skipped": ("retrieval",), "rung": Rung.STATIC, "model_versions": {}, "candidates": None},
    ],
)
def test_where_chance_took_part_or_a_stage_is_missing_the_propensity_is_unknown(changes):
    assert impression_of("r", USER, replace(ANSWER, **changes), NOW, 1.0).propensity == UNKNOWN_PROPENSITY


def test_the_ladder_is_certain_where_nothing_was_skipped():
    answer = replace(ANSWER, rung=Rung.STATIC, model_versions={}, candidates=None)
    assert impression_of("r", USER, answer, NOW, 1.0).propensity == Propensity.certain(2)


def test_what_it_takes_to_draw_a_slate_again_is_kept_where_one_was_drawn():
    user = replace(USER, disliked=("d",), skipped=("s", "s"), skip_ages_hours=(400, 3), shown=("p",))
    drawn = impression_of("r", user, replace(ANSWER, seed="0" * 16, in_full=False), NOW, 1.0)
    again = from_json(to_json(drawn))
    assert state_of("u", again.features) == user
    assert state_digest(state_of("u", again.features)) == again.state_digest
    assert not ImpressionExtension.from_json(again.extension).in_full
    assert impression_of("r", user, ANSWER, NOW, 1.0).features is None


def test_a_state_that_is_too_long_is_not_kept():
    history = tuple(f"{number:0128}" for number in range(200))
    assert state_document(UserState("u", Segment(), history)) is None
    kept = state_document(UserState("u", Segment(), history[:100]))
    assert len(json.dumps(kept)) < MAXIMUM_STATE_BYTES


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"history": "a"}, "features.history"),
        ({"more": 1}, "features.more"),
        ({"schema": "x"}, "features.schema"),
        ({"skipped": ["a"], "skip_ages_hours": [1, 2]}, "features.skip_ages_hours"),
        ({"skipped": ["a"], "skip_ages_hours": [-1]}, "features.skip_ages_hours"),
        ({"skipped": ["a"], "skip_ages_hours": [1.5]}, "features.skip_ages_hours.0"),
    ],
)
def test_a_wrong_state_is_refused_by_name(change, field):
    with pytest.raises(InvalidInputError) as raised:
        state_of("u", state_document(USER) | change)
    assert raised.value.field == field


def test_a_state_of_before_skips_had_ages_is_read_and_keeps_its_digest():
    old = state_document(replace(USER, skipped=("s",)))
    del old["skip_ages_hours"], old["shown"]
    user = state_of("u", old)
    assert (user.skipped, user.skip_ages_hours) == (("s",), ())
    assert state_digest(user) == "b8d5c01bac89dc35ce0a655fd9f0743bc74ba166feec51589ebc56eb6824f4c4"


def test_an_answer_without_a_model_names_none():
    impression = impression_of("r", USER, replace(ANSWER, model_versions={}, candidates=None), NOW, 1.0)
    assert (impression.version, impression.versions) == (None, {})


def test_the_revision_of_the_prices_has_a_field_of_its_own():
    impression = impression_of("r", USER, replace(ANSWER, price_revision=7), NOW, 1.0)
    assert impression.price_revision == 7
    assert set(impression.versions) == {"recommendations.retrieval", "recommendations.reranking"}


def test_all_candidates_are_kept_for_a_sample_of_the_requests():
    assert impression_of(SAMPLED, USER, ANSWER, NOW, 1.0).candidates == ScoredItems(
        ("y", "x", "z"), (2.0, 1.0, 0.5)
    )
    other = next(f"r{number}" for number in range(10_000) if not keeps_candidates(f"r{number}"))
    assert impression_of(other, USER, ANSWER, NOW, 1.0).candidates is None


def test_the_state_digest_is_that_of_the_canonical_form():
    skipping = replace(USER, skipped=("s",), skip_ages_hours=(17,))
    before_ages = asdict(USER)
    del before_ages["skip_ages_hours"], before_ages["shown"]
    first_page = asdict(skipping)
    del first_page["shown"]
    later = replace(skipping, shown=("x", "y"))
    for user, document in ((later, asdict(later)), (skipping, first_page), (USER, before_ages)):
        canonical = rfc8785.dumps(json.loads(json.dumps(document)))
        assert state_digest(user) == hashlib.sha256(canonical).hexdigest()
    assert state_digest(replace(skipping, skip_ages_hours=(18,))) != state_digest(skipping)
    assert state_digest(replace(USER, history=("b",))) != state_digest(USER)
    assert state_digest(replace(USER, segment=Segment())) != state_digest(USER)


def test_an_extension_comes_back_as_it_was():
    extension = ImpressionExtension(
        Rung.STATIC, True, 12.5, ("ranking",), 3, {"ranking": 2}, False, 2, Effort.NO_RERANKING
    )
    assert ImpressionExtension.from_json(extension.to_json()) == extension


def test_the_extension_of_the_logs_version_1_is_read():
    document = {"schema": "streamrec.impression.v1", "rung": "ranked", "cold_start": True, "latency_ms": 9.0}
    for more in ({}, {"propensities": [1.0]}):
        assert ImpressionExtension.from_json(document | more) == ImpressionExtension(Rung.RANKED, True, 9.0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": "ads.impression.v1"}, "extension"),
        ({"rung": "roof"}, "extension.rung"),
        ({"latency_ms": -1.0}, "extension.latency_ms"),
        ({"latency_ms": float("nan")}, "extension.latency_ms"),
        ({"cold_start": 1}, "extension.cold_start"),
        ({"skipped": [1]}, "extension.skipped.0"),
        ({"surprise": 1}, "extension.surprise"),
        ({"effort": "none"}, "extension.effort"),
    ],
)
def test_a_wrong_extension_is_refused_by_name(changes, field):
    document = ImpressionExtension(Rung.RANKED, False, 1.0).to_json() | changes
    with pytest.raises(InvalidInputError) as raised:
        ImpressionExtension.from_json(document)
    assert raised.value.field == field


def test_an_impression_without_an_extension_is_another_spokes():
    with pytest.raises(InvalidInputError, match="another spoke"):
        ImpressionExtension.from_json(None)


class Priced:
    """Re-ranks under published prices."""

    def __init__(self, stage, price_revision):
        self.stage, self.price_revision = stage, price_revision

    async def rerank(self, *arguments):
        reply = await self.stage.rerank(*arguments)
        return StageReply(reply.candidates, reply.version, self.price_revision)


@pytest.mark.parametrize(("published", "shown"), [(7, 7), (0, None), (None, None)])
def test_answer_and_impression_say_which_prices_were_in_force(stages, store, published, shown):
    stages.reranking = Priced(stages.reranking, published)
    service = Service(stages, store)
    answer = service.recommend({"user_id": "known"}).json()
    (impression,) = service.log.snapshot().impressions
    assert answer["price_revision"] == impression.price_revision == shown
    assert "language_prices" not in answer["model_versions"]


def test_a_new_users_impression_holds_the_seed_of_the_draw(stages, store):
    service = Service(stages, store)
    request_id = service.recommend({"user_id": "nobody"}).json()["request_id"]
    (impression,) = service.log.snapshot().impressions
    assert int(impression.seed, 16) == draw_seed("nobody", request_id, stages.cold_start.version)
    assert impression.propensity == UNKNOWN_PROPENSITY
    assert impression.state_digest == state_digest(UserState("nobody", Segment()))


def test_the_candidates_of_a_sampled_request_reach_the_log(stages, store, monkeypatch):
    monkeypatch.setattr("services.recommendations.gateway.recommender.uuid7", lambda: SAMPLED)
    service = Service(stages, store)
    service.recommend({"user_id": "known", "k": 3})
    (impression,) = service.log.snapshot().impressions
    assert len(impression.candidates.item_ids) == 24  # the catalogue without what the user has seen
    assert set(impression.item_ids) <= set(impression.candidates.item_ids)
