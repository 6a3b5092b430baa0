from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from streamrec.contracts import json_schemas
from streamrec.contracts.intervals import Interval, IntervalMethod

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "data" / "golden"
INTERVAL = Interval(0.5, 0.4, 0.6, 0.95, IntervalMethod.BASIC_BOOTSTRAP, 7).to_json()


def golden(name):
    return json.loads((GOLDEN / name).read_text())


DOCUMENTS = [
    ("interval", INTERVAL),
    ("result", golden("result.json")),
    ("traffic", golden("traffic.json")["document"]),
    *(("ledger_entry", entry) for entry in golden("ledger_chain.json")),
    *(
        (kind, golden(f"events/{kind}.json"))
        for kind in ("exposure", "impression", "label", "outcome", "prediction")
    ),
]


@cache
def validator(name):
    schema = json.loads(json_schemas.schema_texts()[f"{name}.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schemas_are_current():
    assert json_schemas.stale_schemas(ROOT / "docs" / "schemas") == []


@pytest.mark.parametrize(("name", "document"), DOCUMENTS)
def test_golden_documents_satisfy_their_schema(name, document):
    validator(name).validate(document)


@pytest.mark.parametrize(("name", "document"), DOCUMENTS)
def test_a_document_without_one_of_its_fields_does_not(name, document):
    for missing in validator(name).schema["required"]:
        assert not validator(name).is_valid({key: value for key, value in document.items() if key != missing})


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("interval", ["level"], 1.0),
        ("interval", ["method"], "guess"),
        ("interval", ["count"], 3),
        ("result", ["schema"], "evaluation"),
        ("result", ["verdict"], "fine"),
        ("result", ["reasons"], []),
        ("result", ["reasons", 0, "code"], "Bar"),
        ("traffic", ["schema"], "streamrec.traffic.v2"),
        ("traffic", ["slots", "Ranking"], None),
        ("traffic", ["slots", "moderation", "weight_bp"], 10_001),
        ("traffic", ["slots", "moderation", "champion"], "toxicity"),
        ("traffic", ["slots", "moderation", "salt"], "a:b"),
        ("traffic", ["prepare", 0], "x"),
        ("ledger_entry", ["kind"], "something"),
        ("ledger_entry", ["hash"], "00"),
        ("ledger_entry", ["seq"], 0),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(name, path, value):
    document = copy.deepcopy(dict(DOCUMENTS)[name])
    inside = document
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    assert not validator(name).is_valid(document)


def test_a_stale_a_missing_and_a_left_over_file_are_named_with_the_command(tmp_path, capsys):
    assert json_schemas.main([str(tmp_path)]) == 0
    assert json_schemas.main([str(tmp_path), "--check"]) == 0
    (tmp_path / "interval.json").write_text("{}")
    (tmp_path / "traffic.json").unlink()
    (tmp_path / "another.json").write_text("{}")
    assert json_schemas.main([str(tmp_path), "--check"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"{tmp_path / 'interval.json'} is stale; run 'make schemas'",
        f"{tmp_path / 'traffic.json'} is missing; run 'make schemas'",
        f"{tmp_path / 'another.json'} is the schema of no format; run 'make schemas'",
    ]
    json_schemas.main([str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(json_schemas.schema_texts())
