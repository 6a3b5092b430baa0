from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from streamrec.contracts.errors import (
    ArtifactError,
    DataFolderError,
    DeadlineExceededError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    StreamRecError,
)
from streamrec.contracts.exit_statuses import ExitStatus, exit_status_of_error
from streamrec.contracts.results import Reason, Result, Verdict, combined

MISSED = Reason("bar_missed", "bars.3", "recall@500 is 0.97; at least 0.99 is needed")
SCHEMA = "streamrec.evaluation.v1"
GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden" / "result.json").read_text())


def test_a_result_is_an_envelope_around_what_was_measured():
    result = Result(SCHEMA, Verdict.FAILED, (MISSED,), {"models": {"ease": 0.1}})
    assert result.to_json() == GOLDEN
    assert list(result.to_json())[:3] == ["schema", "verdict", "reasons"]
    assert Result.from_json(GOLDEN, schema=SCHEMA) == result


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.PASSED, 0),
        (Verdict.ERROR, 1),
        (Verdict.FAILED, 3),
        (Verdict.INCONCLUSIVE, 4),
    ],
)
def test_exit_statuses_are_fixed(verdict, status):
    assert Result(SCHEMA, verdict, (MISSED,)).exit_status == status
    assert ExitStatus.WRONG_INPUT == 2


def test_the_worst_verdict_is_that_of_all_together():
    order = [Verdict.ERROR, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED]
    for length in (1, 2, 3):
        for verdicts in itertools.product(order, repeat=length):
            assert combined(iter(verdicts)) == min(verdicts, key=order.index)
    assert combined([]) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("k", "must be 1 or more"), 2),
        (DataFolderError(Path("data"), None, "is missing"), 2),
        (NotFoundError("no such model"), 2),
        (ArtifactError("damaged"), 2),
        (NotReadyError("nothing is registered"), 2),
        (DependencyError("the store did not answer"), 1),
        (DeadlineExceededError("too late"), 1),
        (OverloadedError("full"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_that_a_retry_may_mend_is_nobodys_wrong_input(error: StreamRecError, status: int):
    assert exit_status_of_error(error) == status


@pytest.mark.parametrize(
    "fields",
    [
        ("", "path", "message"),
        ("Bar_missed", "path", "message"),
        ("bar-missed", "path", "message"),
        ("bar_missed\n", "path", "message"),
        ("_bar", "path", "message"),
        ("a" * 65, "path", "message"),
        ("bar_missed", "path", ""),
        ("bar_missed", "path", "two\nlines"),
        ("bar_missed", "path", "a" * 1_001),
        ("bar_missed", "two\nlines", "message"),
    ],
)
def test_refuses_reasons_that_are_not_one_line_with_a_code(fields):
    with pytest.raises(InvalidInputError):
        Reason(*fields)


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "evaluation",
        "streamrec.evaluation",
        "streamrec.Evaluation.v1",
        "streamrec.a.v0",
        "streamrec.a.v1\n",
    ],
)
def test_refuses_other_names_of_formats(schema):
    with pytest.raises(InvalidInputError, match=r"^schema: "):
        Result(schema, Verdict.PASSED)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_only_a_passed_result_needs_no_reason(verdict):
    assert Result(SCHEMA, Verdict.PASSED).reasons == ()
    with pytest.raises(InvalidInputError, match=f"^reasons: must say why the verdict is {verdict}"):
        Result(SCHEMA, verdict)
    with pytest.raises(InvalidInputError, match=r"^reasons: must be at most 1000"):
        Result(SCHEMA, verdict, (MISSED,) * 1_001)


@pytest.mark.parametrize("name", ["schema", "verdict", "reasons"])
def test_refuses_fields_that_would_hide_those_of_the_envelope(name):
    with pytest.raises(InvalidInputError, match=f"^{name}: "):
        Result(SCHEMA, Verdict.PASSED, content={name: 1})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": "streamrec.traffic.v1"}, "schema: must be 'streamrec.evaluation.v1'"),
        ({"verdict": "fine"}, "verdict: "),
        ({"verdict": None}, "verdict: "),
        ({"reasons": {}}, "reasons: "),
        ({"reasons": []}, "reasons: must say why"),
        ({"reasons": [MISSED.to_json()] * 1_001}, "reasons: "),
        ({"reasons": [{"code": "a", "path": ""}]}, "reasons.0.message: is missing"),
        ({"reasons": [{"code": "A", "path": "", "message": "m"}]}, "reasons.0.code: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_documents_that_are_no_results(change, problem):
    with pytest.raises(InvalidInputError) as refusal:
        Result.from_json({**GOLDEN, **change}, schema=SCHEMA)
    assert str(refusal.value).startswith(problem)
