from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.recommendations.contracts.stages import (
    COLD_START,
    MODEL_NAMES,
    MODEL_STAGES,
    RANKING,
    RETRIEVAL,
    SLOTS,
)
from services.recommendations.serving.traffic.assigned_stages import AssignedStages
from services.recommendations.serving.traffic.held_challengers import HeldChallengers
from services.recommendations.serving.versioned_stages import VersionedStages
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Holdback, SlotTraffic, Traffic, assigned
from streamrec.contracts.units import bucket

UNITS = [f"user-{number}" for number in range(2_000)]
CHAMPIONS, CHALLENGERS = VersionedStages(*["champion"] * 4), VersionedStages(*["challenger"] * 4)
KEPT = datetime(2026, 1, 1, tzinfo=UTC)


def ref(stage, version):
    return ModelRef(MODEL_NAMES[stage], version)


def slot(stage, challenger=None, weight_bp=0, shadow_bp=0, holdback_bp=0, bundle=None, salt="salt"):
    kept = None if not holdback_bp else Holdback(ref(stage, 9), holdback_bp, f"{salt}-kept", KEPT)
    named = None if challenger is None else ref(stage, challenger)
    return SlotTraffic(ref(stage, 1), named, weight_bp, shadow_bp, salt, "trial", bundle, kept)


def stages_under(**slots) -> AssignedStages:
    every = {stage: slot(stage) for stage in MODEL_STAGES} | slots
    traffic = Traffic(7, {SLOTS[stage]: named for stage, named in every.items()}, ())
    return AssignedStages(traffic, CHAMPIONS, CHALLENGERS)


def test_without_a_challenger_everybody_sees_the_same():
    under = stages_under()
    assert len({id(under.stages(unit)) for unit in UNITS[:50]}) == 1
    stages = under.stages("user")
    assert stages.trial is None
    assert stages.traffic_revision == 7
    assert {pin.version for pin in stages.pins.values()} == {1}


def test_a_unit_is_assigned_as_the_document_says():
    named = slot(RANKING, challenger=2, weight_bp=1_000, holdback_bp=500)
    under = stages_under(ranking=named)
    for unit in UNITS:
        role, version = assigned(named, unit)
        stages = under.stages(unit)
        if role is ServingRole.CHALLENGER:
            pin = stages.trial.answering[RANKING]
            assert stages.trial.stages.ranking.served == "challenger"
            assert stages.pins[RANKING].role is ServingRole.CHAMPION  # who answers if it fails
        else:
            assert stages.trial is None
            pin = stages.pins[RANKING]
        assert (pin.role, pin.ref) == (role, version)
        assert (pin.holder, pin.weight_bp, pin.slot) == ("trial", 1_000, SLOTS[RANKING])
    assert len({id(under.stages(unit)) for unit in UNITS}) == 3


def test_a_bundle_is_seen_whole_or_not_at_all():
    bundled = {
        stage: slot(stage, challenger=2, weight_bp=2_500, holdback_bp=500, bundle="space")
        for stage in (RETRIEVAL, COLD_START)
    }
    under = stages_under(**bundled)
    for unit in UNITS:
        stages = under.stages(unit)
        tried = () if stages.trial is None else stages.trial.answering
        assert set(tried) in (set(), {RETRIEVAL, COLD_START})
        assert stages.pins[RETRIEVAL].role is stages.pins[COLD_START].role


def test_shadows_are_champions_with_somebody_beside():
    under = stages_under(ranking=slot(RANKING, challenger=2, weight_bp=1_000, shadow_bp=6_000))
    for unit in UNITS:
        stages, of_unit = under.stages(unit), bucket("salt", unit)
        assert (stages.trial is None) == (of_unit >= 6_000)
        if of_unit < 1_000:
            assert set(stages.trial.answering) == {RANKING}
            assert not stages.trial.shadowing
        elif of_unit < 6_000:
            assert stages.trial.shadowing[RANKING].role is ServingRole.SHADOW
            assert not stages.trial.answering


def test_a_challenger_that_prepares_answers_nobody():
    under = stages_under(ranking=slot(RANKING, challenger=2))
    assert all(under.stages(unit).trial is None for unit in UNITS[:100])
    assert under.versions[ServingRole.CHALLENGER] == {RANKING: 2}


def test_versions_of_another_model_are_not_asked():
    foreign = ModelRef("another-model", 5)
    named = SlotTraffic(ref(RANKING, 1), foreign, 10_000, 0, "salt", "trial", None, None)
    under = stages_under(ranking=named)
    assert all(under.stages(unit).trial is None for unit in UNITS[:100])
    assert under.versions[ServingRole.CHALLENGER] == {}


def test_before_the_first_document_nobody_is_named():
    under = AssignedStages(None, CHAMPIONS, CHALLENGERS)
    assert under.stages("user").pins == {}
    assert under.stages("user").traffic_revision is None
    assert under.versions[ServingRole.CHAMPION] == {}


async def until(holds) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never came about")


def test_a_replica_is_held_for_each_stage_that_is_named_and_for_no_other():
    async def run():
        named, calls, failing = {RANKING}, [], [True]

        async def hold(stage, for_s):
            calls.append(stage)
            if failing.pop() if failing else False:
                raise RuntimeError("it died")
            await asyncio.sleep(for_s)

        held = HeldChallengers(lambda: named, hold, look_interval_s=0.001, pause_s=0.001)
        held.start()
        await until(lambda: calls == [RANKING, RANKING])  # again after it died
        named.clear()
        named.add(RETRIEVAL)
        await until(lambda: held.stages == (RETRIEVAL,))
        await until(lambda: calls == [RANKING, RANKING, RETRIEVAL])
        await held.stop()
        assert held.stages == ()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("hold")] == []

    asyncio.run(run())
