from __future__ import annotations

import importlib

import pytest

from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES, SLOTS
from services.recommendations.judging.stage_specifications import specification_folder, stage_specifications


def test_each_stage_has_a_specification_of_its_own_model_and_slot():
    found = stage_specifications()
    assert tuple(found) == MODEL_STAGES
    for stage, specification in found.items():
        assert (specification.name, specification.slot) == (MODEL_NAMES[stage], SLOTS[stage])
        # A first version has nothing to be compared with.
        assert specification.quality.floor is not None
        assert set(specification.needs.values()) <= set(MODEL_NAMES.values())


@pytest.mark.parametrize("stage", MODEL_STAGES)
def test_what_a_specification_names_is_there(stage):
    specification = stage_specifications()[stage]
    for named in (specification.predictor, specification.evaluation.requests, specification.skew.features):
        module, _, function = named.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("stage", MODEL_STAGES)
def test_people_are_told_apart_where_the_data_set_knows_them(stage):
    specification = stage_specifications()[stage]
    assert specification.people("movielens").fairness is None
    assert (specification.people("world").fairness is None) == (stage == "retrieval")


def test_a_specification_is_short():
    text = (specification_folder("retrieval") / "model.yaml").read_text()
    judged, _, rolled_out = text.partition("# Interest is what all stages")
    assert len(judged.splitlines()) <= 17
    assert len(rolled_out.splitlines()) <= 13
