from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Holdback, SlotTraffic, Traffic
from streamrec.serving.wanted_versions import wanted_versions

SLOT, MODEL = "shop.ranking", "ranking"
ONE, TWO, THREE = (ModelRef(MODEL, version) for version in (1, 2, 3))
OTHER = ModelRef("search", 7)


def traffic(*, challenger=None, weight_bp=0, shadow_bp=0, holdback=None, prepare=()) -> Traffic:
    kept = None
    if holdback is not None:
        kept = Holdback(holdback, 100, "kept", datetime(2026, 1, 1, tzinfo=UTC))
    slot = SlotTraffic(ONE, challenger, weight_bp, shadow_bp, "salt", None, None, kept)
    return Traffic(1, {SLOT: slot}, tuple(prepare))


def champions(document) -> tuple[ModelRef, ...]:
    return wanted_versions(document, SLOT, MODEL, ServingRole.CHAMPION)


def challengers(document) -> tuple[ModelRef, ...]:
    return wanted_versions(document, SLOT, MODEL, ServingRole.CHALLENGER)


def test_a_version_on_trial_is_loaded_by_challenger_replicas_alone():
    for weight_bp in (0, 100, 9_999):
        document = traffic(challenger=TWO, weight_bp=weight_bp, prepare=(TWO,))
        assert champions(document) == (ONE,)
        assert challengers(document) == (TWO,)


def test_what_is_about_to_become_champion_is_loaded_by_champion_replicas():
    assert champions(traffic(challenger=TWO, weight_bp=10_000, prepare=(TWO,))) == (ONE, TWO)
    assert champions(traffic(prepare=(TWO,))) == (ONE, TWO)
    # Beside a trial too: what a rollback would go back to.
    assert champions(traffic(challenger=TWO, weight_bp=100, prepare=(THREE, TWO))) == (ONE, THREE)


def test_a_trial_of_everybody_is_loaded_by_champions_only_once_it_is_prepared():
    assert champions(traffic(challenger=TWO, weight_bp=10_000)) == (ONE,)


def test_champion_replicas_have_the_holdback():
    assert champions(traffic(holdback=THREE)) == (ONE, THREE)
    assert challengers(traffic(holdback=THREE)) == ()


def test_prepared_versions_of_other_models_are_others_business():
    assert champions(traffic(prepare=(OTHER,))) == (ONE,)


def test_an_empty_slot_prepares_and_nothing_is_wanted_before_the_first_document():
    assert champions(Traffic(1, {}, (ONE,))) == (ONE,)
    assert challengers(Traffic(1, {}, (ONE,))) == ()
    assert champions(None) == challengers(None) == ()


@pytest.mark.parametrize("role", [ServingRole.SHADOW, ServingRole.HOLDBACK])
def test_no_replica_has_another_role(role):
    with pytest.raises(ValueError, match=role.value):
        wanted_versions(None, SLOT, MODEL, role)
