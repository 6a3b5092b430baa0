from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import (
    MAXIMUM_PREPARED,
    MAXIMUM_SLOTS,
    Holdback,
    SlotTraffic,
    Traffic,
    assigned,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden" / "traffic.json").read_text())
RANKING = "recommendations.ranking"
CHAMPION, CHALLENGER, OLD = (ModelRef("ranking", version) for version in (2, 3, 1))
UNTIL = datetime(2026, 12, 31, tzinfo=UTC)


def slot(weight_bp=0, holdback=None):
    return SlotTraffic(CHAMPION, CHALLENGER, weight_bp, 0, "rollout-1", "rollouts/1", None, holdback)


def holdback(share_bp):
    return Holdback(OLD, share_bp, "holdback-1", UNTIL)


def changed(path, value):
    """The golden document with another value at the path, which it need not have."""
    document = copy.deepcopy(GOLDEN["document"])
    *parents, last = path
    inside = document
    for part in parents:
        inside = inside[part]
    inside[last] = value
    return document


def test_the_golden_document_has_these_bytes():
    traffic = Traffic.from_json(GOLDEN["document"])
    content = canonical_json(traffic.to_json())
    assert content.decode() == GOLDEN["canonical"]
    assert Traffic.from_json(parse_json(content, maximum_bytes=10_000)) == traffic


@pytest.mark.parametrize("case", GOLDEN["assigned"], ids=lambda case: f"{case['slot']}-{case['unit']}")
def test_golden_units_are_assigned_so(case):
    role, version = assigned(Traffic.from_json(GOLDEN["document"]).slots[case["slot"]], case["unit"])
    assert (role, version) == (case["role"], ModelRef.parse(case["version"]))


units = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
weights = st.integers(0, 10_000)


@settings(max_examples=50, deadline=None)
@given(units, weights, weights, weights)
def test_a_unit_never_goes_back_while_the_weight_grows(unit, first, second, share_bp):
    less, more = sorted((first, second))
    for held in (None, holdback(share_bp)):
        before, after = (assigned(slot(weight, held), unit) for weight in (less, more))
        assert before == assigned(slot(less, held), unit)  # sticky: the same however often it is asked
        if before[0] is not ServingRole.CHAMPION:
            assert after == before
        if held is not None and before[0] is not ServingRole.HOLDBACK:
            assert before == assigned(slot(less), unit)  # a holdback changes nobody else


@settings(max_examples=50, deadline=None)
@given(units)
def test_nobody_gets_a_challenger_without_weight_and_everybody_with_all_of_it(unit):
    assert assigned(slot(0), unit) == (ServingRole.CHAMPION, CHAMPION)
    assert assigned(slot(10_000), unit) == (ServingRole.CHALLENGER, CHALLENGER)
    assert assigned(slot(10_000, holdback(10_000)), unit) == (ServingRole.HOLDBACK, OLD)
    assert assigned(slot(10_000, holdback(0)), unit) == (ServingRole.CHALLENGER, CHALLENGER)


def test_arms_get_their_shares():
    found = [assigned(slot(2_500, holdback(1_000)), str(unit))[0] for unit in range(20_000)]
    # Four standard errors of a share of 20,000 units.
    assert found.count(ServingRole.HOLDBACK) / 20_000 == pytest.approx(0.1, abs=0.009)
    assert found.count(ServingRole.CHALLENGER) / 20_000 == pytest.approx(0.225, abs=0.012)


def test_slots_of_a_bundle_move_a_unit_together():
    traffic = Traffic.from_json(changed(("slots", RANKING, "holdback"), None))
    bundled = [found for found in traffic.slots.values() if found.bundle == "embedding-space"]
    for unit in range(2_000):
        assert len({assigned(found, str(unit))[0] for found in bundled}) == 1


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("schema",), "streamrec.traffic.v2", "schema: must be 'streamrec.traffic.v1'"),
        (("revision",), 0, "revision: "),
        (("revision",), "7", "revision: "),
        (("signature",), "c2ln", "signature: is not a field of this document"),
        (("slots",), [], "slots: "),
        (("slots", RANKING), None, f"slots.{RANKING}: "),
        (("slots", RANKING, "weight_bp"), 10_001, f"slots.{RANKING}.weight_bp: "),
        (("slots", RANKING, "weight_bp"), -1, f"slots.{RANKING}.weight_bp: "),
        (("slots", RANKING, "weight_bp"), 2.5, f"slots.{RANKING}.weight_bp: "),
        (("slots", RANKING, "shadow_bp"), True, f"slots.{RANKING}.shadow_bp: "),
        (("slots", RANKING, "weight"), 1, f"slots.{RANKING}.weight: is not a field"),
        (("slots", RANKING, "champion"), None, f"slots.{RANKING}.champion: "),
        (("slots", RANKING, "champion"), "ranking", f"slots.{RANKING}.champion: "),
        (("slots", RANKING, "champion"), "ranking@0", f"slots.{RANKING}.champion: must be NAME@VERSION"),
        (("slots", RANKING, "challenger"), "Ranking@1", f"slots.{RANKING}.challenger: "),
        (
            ("slots", RANKING, "challenger"),
            "recommendations-ranking@3",
            f"slots.{RANKING}.challenger: must be another version than the champion",
        ),
        (
            ("slots", RANKING, "challenger"),
            None,
            f"slots.{RANKING}.weight_bp: must be 0 without a challenger",
        ),
        (("slots", "moderation", "shadow_bp"), 5, "slots.moderation.shadow_bp: must be 0 without"),
        (("slots", RANKING, "salt"), "", f"slots.{RANKING}.salt: "),
        (("slots", RANKING, "salt"), "a:b", f"slots.{RANKING}.salt: "),
        (("slots", RANKING, "salt"), "a\n", f"slots.{RANKING}.salt: "),
        (("slots", RANKING, "salt"), "a" * 65, f"slots.{RANKING}.salt: "),
        (("slots", RANKING, "salt"), "other", "slots.recommendations.retrieval.salt: must be that of"),
        (("slots", RANKING, "weight_bp"), 100, "slots.recommendations.retrieval.weight_bp: must be that of"),
        (("slots", RANKING, "holder"), "", f"slots.{RANKING}.holder: "),
        (("slots", RANKING, "holder"), "a\nb", f"slots.{RANKING}.holder: "),
        (("slots", RANKING, "bundle"), 3, f"slots.{RANKING}.bundle: "),
        (("slots", RANKING, "holdback", "share_bp"), 10_001, f"slots.{RANKING}.holdback.share_bp: "),
        (("slots", RANKING, "holdback", "until"), "2026-12-31T00:00:00", f"slots.{RANKING}.holdback.until: "),
        (
            ("slots", RANKING, "holdback", "until"),
            "0001-01-01T00:00:00+14:00",
            f"slots.{RANKING}.holdback.until: must be within the years",
        ),
        (("slots", RANKING, "holdback", "until"), "tomorrow", f"slots.{RANKING}.holdback.until: "),
        (("slots", RANKING, "holdback", "until"), 1798675200, f"slots.{RANKING}.holdback.until: "),
        (("slots", RANKING, "holdback", "salt"), "rollout-7", f"slots.{RANKING}.holdback.salt: must differ"),
        (
            ("slots", RANKING, "holdback", "version"),
            "recommendations-ranking@4",
            f"slots.{RANKING}.holdback.version: must be another version than the challenger",
        ),
        (("prepare",), ["ranking"], "prepare.0: "),
        (("prepare",), ["ranking@1", "ranking@1"], "prepare: must not name a version twice"),
        (("prepare",), [f"a@{n}" for n in range(1, MAXIMUM_PREPARED + 2)], "prepare: "),
    ],
)
def test_refuses_a_bad_document_and_names_the_field(path, value, problem):
    with pytest.raises(InvalidInputError, match=r"^[^\n]+$") as refusal:
        Traffic.from_json(changed(path, value))
    assert str(refusal.value).startswith(problem)


@pytest.mark.parametrize("name", ["", "A", "a..b", ".a", "a.", "a/b", "a\n", "a" * 129])
def test_refuses_slots_of_other_names(name):
    document = {**GOLDEN["document"], "slots": {name: GOLDEN["document"]["slots"]["moderation"]}}
    with pytest.raises(InvalidInputError, match=r"^slots[^\n]{0,300}$"):
        Traffic.from_json(document)


@pytest.mark.parametrize("missing", ["schema", "revision", "slots", "prepare"])
def test_every_field_must_be_there(missing):
    document = {name: value for name, value in GOLDEN["document"].items() if name != missing}
    with pytest.raises(InvalidInputError, match=f"^{missing}: "):
        Traffic.from_json(document)


def test_the_holdbacks_of_a_bundle_agree():
    other = {**GOLDEN["document"]["slots"][RANKING]["holdback"], "version": "recommendations-retrieval@1"}
    both = changed(("slots", "recommendations.retrieval", "holdback"), other)
    assert Traffic.from_json(both).slots["recommendations.retrieval"].holdback is not None
    both["slots"]["recommendations.retrieval"]["holdback"]["share_bp"] = 5
    with pytest.raises(InvalidInputError, match=r"^slots\.recommendations\.retrieval\.holdback\.share_bp: "):
        Traffic.from_json(both)


def test_nothing_out_of_bounds_is_ever_written():
    with pytest.raises(InvalidInputError, match=r"^slots\.a\.weight_bp: "):
        Traffic(1, {"a": slot(10_001)}, ()).to_json()
    with pytest.raises(InvalidInputError, match=r"^slots: "):
        Traffic(1, {f"a{n}": slot() for n in range(MAXIMUM_SLOTS + 1)}, ()).to_json()
    with pytest.raises(InvalidInputError, match="time zone"):
        replace(holdback(1), until=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_a_time_with_another_offset_is_the_same_moment():
    path = ("slots", RANKING, "holdback", "until")
    traffic = Traffic.from_json(changed(path, "2026-12-31T02:00:00+02:00"))
    assert traffic == Traffic.from_json(GOLDEN["document"])
