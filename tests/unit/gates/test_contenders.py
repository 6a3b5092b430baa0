from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.safe_yaml import parse_yaml
from streamrec.gates.contenders import LEAST_ROWS, Contender, ask, ask_beside
from tests import small_spoke
from tests.judged_versions import ISOLATED


@pytest.fixture
def contender(tmp_path):
    small_spoke.write_artifact(tmp_path / "artifact")
    document = parse_yaml(small_spoke.SPECIFICATION.encode())
    specification = ModelSpecification.from_json(
        document | {"schema": "streamrec.model_specification.v1", "predictor": "tests.small_spoke:load"}
    )
    return Contender("shop-clicks", specification, tmp_path / "artifact")


def test_two_processes_answer_as_one_does(contender) -> None:
    requests = small_spoke.made_table(rows=2 * LEAST_ROWS + 1)
    alone, beside = ask(contender, requests, ISOLATED), ask_beside(contender, requests, ISOLATED, 2)
    assert alone.table is not None
    assert beside.table is not None
    assert beside.table.equals(alone.table)


def test_what_one_of_them_stumbles_over_is_what_became_of_all(contender) -> None:
    requests = small_spoke.made_table(rows=2 * LEAST_ROWS)
    specification = replace(contender.specification, predictor="tests.small_spoke:cannot_be_loaded")
    found = ask_beside(replace(contender, specification=specification), requests, ISOLATED, 2)
    assert found.table is None
    assert found.problem
