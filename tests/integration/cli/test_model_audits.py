"""`streamrec models audit`: of files, of a model server, and of what was served."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.events.file_event_log import FileEventLog
from tests.made_events import NOON, an_impression, an_outcome
from tests.made_predictions import toxic_and_not

SAME = {"de": 0.8, "fr": 0.8, "hi": 0.8}


def run(*arguments):
    result = CliRunner().invoke(app, ["models", "audit", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_predictions(path, tpr=SAME, rows=9_000):
    labels, scores, languages = toxic_and_not(rows, tpr)
    frame = pd.DataFrame({"truth": labels.astype(int), "score": scores, "Language": languages})
    frame.to_csv(path, index=False)
    return frame


def audited(tmp_path, *more):
    out = tmp_path / "out.json"
    result = run(*more, "--json", out)
    return result, json.loads(out.read_text())


@pytest.mark.parametrize(
    ("tpr", "status", "verdict"), [(SAME, 0, "passed"), ({**SAME, "hi": 0.5}, 3, "failed")]
)
def test_a_file_of_predictions_is_judged(tmp_path, tpr, status, verdict):
    frame = write_predictions(tmp_path / "p.csv", tpr)
    result, document = audited(
        tmp_path,
        "--predictions",
        tmp_path / "p.csv",
        "--label",
        "truth",
        "--score",
        "score",
        "--groups",
        "Language",
    )
    assert result.exit_code == status, result.output
    assert document["schema"] == "streamrec.audit.v1"
    assert document["verdict"] == verdict
    hindi = frame[frame["Language"] == "hi"]
    found = document["groups"]["Language=hi"]
    assert found["count"] == len(hindi)
    assert found["tpr"]["value"] == pytest.approx(
        (hindi.loc[hindi["truth"] == 1, "score"] >= 0.5).mean(), abs=1e-12
    )
    assert set(document["differences"][0]) >= {
        "metric", "groups", "value", "low", "high", "tolerance", "verdict", "samples_needed",
    }  # fmt: skip


def test_a_policy_says_what_is_compared_and_a_report_is_written(tmp_path):
    write_predictions(tmp_path / "p.csv", {**SAME, "hi": 0.5})
    policy = tmp_path / "policy.yaml"
    policy.write_text("attributes: [Language, age]\nmetrics: {fpr: 0.1}\n")
    result, document = audited(
        tmp_path, "--predictions", tmp_path / "p.csv", "--label", "truth", "--score", "score",
        "--policy", policy, "--html", tmp_path / "report.html",
    )  # fmt: skip
    assert result.exit_code == 4
    assert {found["metric"] for found in document["differences"]} == {"fpr"}
    assert [reason["code"] for reason in document["reasons"]] == ["attribute_missing"]
    text = (tmp_path / "report.html").read_text()
    assert "Language=hi" in text
    assert "attribute_missing" in text


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("truth,score,Sex\n1,0.3,F\n", ("--label", "thruth"), "has no column 'thruth'; did you mean 'truth'"),
        ("truth,truth,score,Sex\n1,0,0.3,F\n", (), "names the column 'truth' 2 times"),
        ("truth,score,Sex\n1,0.3,F\n0,0.2,M\n2,0.1,M\n", (), "row 3 holds '2'"),
        ("truth,score,Sex\n1,0.3,F\n0,,M\n", (), "row 2 does not"),
        ("truth,score,Sex\n1,1.3,F\n", (), "--threshold"),
        ("truth,score,Sex\n1,much,F\n", (), "column 'score' must hold numbers"),
        ("truth,score,Sex\n", (), "there are none"),
        ("", (), "holds no rows"),
        ("truth,score,Sex\n1,0.3\n", (), "cannot be read"),
        ("truth,score,Sex\n1,0.3,F\n", ("--groups", "Sex,Sex"), "names 'Sex' twice"),
        ("truth,score,Sex\n1,0.3,F\n", ("--groups", "truth"), "different columns"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(tmp_path, content, options, words):
    path = tmp_path / "p.csv"
    path.write_text(content)
    given = {"--label": "truth", "--score": "score", "--groups": "Sex", **dict([options] if options else [])}
    result = run("--predictions", path, *(part for pair in given.items() for part in pair))
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_a_group_of_one_is_inconclusive(tmp_path):
    frame = write_predictions(tmp_path / "p.csv")
    frame.loc[0, "Language"] = "sw"
    frame.to_csv(tmp_path / "p.csv", index=False)
    result, document = audited(
        tmp_path,
        "--predictions",
        tmp_path / "p.csv",
        "--label",
        "truth",
        "--score",
        "score",
        "--groups",
        "Language",
    )
    assert result.exit_code == 4
    assert document["groups"]["Language=sw"]["count"] == 1
    assert {reason["code"] for reason in document["reasons"]} == {"group_too_small"}


def test_one_source_must_be_named(tmp_path):
    assert run().exit_code == 2
    assert run("--predictions", tmp_path / "x.csv", "--slot", "search.ranking").exit_code == 2


@contextmanager
def model_server(infer, inputs):
    """A small server of the Open Inference Protocol; ``infer`` makes an output of the tensors by name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send({"name": "toxicity", "platform": "test", "inputs": inputs, "outputs": []})

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tensors = {
                tensor["name"]: np.array(tensor["data"], dtype=object).reshape(tensor["shape"])
                for tensor in request["inputs"]
            }
            self.send(infer(tensors))

        def send(self, document):
            body = json.dumps(document).encode()
            self.send_response(200 if "error" not in document else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v2/models/toxicity"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scored(values):
    values = [float(value) for value in values]
    return {"outputs": [{"name": "score", "datatype": "FP64", "shape": [len(values)], "data": values}]}


def asked_file(path, tpr, rows=1_100):
    labels, scores, languages = toxic_and_not(rows, tpr)
    pd.DataFrame({"truth": labels.astype(int), "a": scores, "b": 1.0, "language": languages}).to_csv(
        path, index=False
    )


BY_NAME = [
    {"name": "a", "datatype": "FP32", "shape": [-1]},
    {"name": "language", "datatype": "BYTES", "shape": [-1, 1]},
]
MATRIX = [{"name": "input", "datatype": "FP32", "shape": [-1, 2]}]


@pytest.mark.parametrize(
    ("inputs", "infer", "status"),
    [
        (BY_NAME, lambda tensors: scored(tensors["a"]), 0),
        (BY_NAME, lambda tensors: scored(tensors["a"] * (tensors["language"].ravel() != "hi")), 3),
        (MATRIX, lambda tensors: scored(tensors["input"][:, 0]), 0),
    ],
)
def test_a_model_server_is_asked(tmp_path, inputs, infer, status):
    asked_file(tmp_path / "q.csv", SAME, rows=6_000)
    with model_server(infer, inputs) as url:
        result = run(
            "--endpoint", url, "--data", tmp_path / "q.csv", "--label", "truth", "--groups", "language"
        )
    assert result.exit_code == status, result.output


@pytest.mark.parametrize(
    ("infer", "status", "words"),
    [
        (lambda _: {"error": "out of memory"}, 1, "out of memory"),
        (lambda _: scored([0.1]), 2, "answered 1 scores to 1000 rows"),
        (lambda _: {"outputs": [{"name": "a", "data": ["x"]}]}, 2, "holds no numbers"),
        (lambda _: {"outputs": []}, 2, "--output"),
    ],
)
def test_a_server_that_answers_wrongly_is_named(tmp_path, infer, status, words):
    asked_file(tmp_path / "q.csv", SAME)
    with model_server(infer, BY_NAME) as url:
        result = run(
            "--endpoint", url, "--data", tmp_path / "q.csv", "--label", "truth", "--groups", "language"
        )
    assert result.exit_code == status
    assert words in result.output


def test_a_server_that_is_not_there_and_a_url_of_another_kind(tmp_path):
    asked_file(tmp_path / "q.csv", SAME)
    options = ("--data", tmp_path / "q.csv", "--label", "truth", "--groups", "language")
    assert run("--endpoint", "http://127.0.0.1:9/v2/models/m", *options).exit_code == 1
    assert run("--endpoint", "ftp://127.0.0.1/v2/models/m", *options).exit_code == 2


ITEMS = [f"i{number}" for number in range(20)]


def serve(tmp_path, *, old_get=0.5, french_shown_first=False):
    """A log of slates and clicks by two bands of users over items of two languages."""
    rng = np.random.default_rng(7)
    data = tmp_path / "data"
    data.mkdir()
    users = [f"u{number}" for number in range(400)]
    bands = ["old" if number % 2 else "young" for number in range(400)]
    pd.DataFrame({"user_id": users, "age_band": bands, "country": "unknown"}).to_parquet(
        data / "users.parquet"
    )
    languages = ["fr" if number < 10 else "de" for number in range(20)]
    pd.DataFrame({"item_id": ITEMS, "creator_language": languages}).to_parquet(data / "items.parquet")
    records = []
    for number in range(2_400):
        user = number % 400
        order = rng.permutation(10)
        if french_shown_first:
            slate = [ITEMS[place] for place in order[:5]] + [ITEMS[10 + place] for place in order[5:]]
        else:
            slate = [ITEMS[place + 10 * ((number + turn) % 2)] for turn, place in enumerate(order)]
        moment = NOON + timedelta(seconds=number)
        records.append(
            an_impression(number, unit=users[user], item_ids=tuple(slate), predicted_at=moment,
                          scores=tuple(float(-place) for place in range(10)),
                          propensity=an_impression(item_ids=tuple(slate)).propensity)
        )  # fmt: skip
        if rng.uniform() < (old_get if bands[user] == "old" else 0.5):
            # Either language as often, at its first place.
            wanted = "fr" if rng.uniform() < 0.5 else "de"
            item = next(item for item in slate if languages[ITEMS.index(item)] == wanted)
            records.append(
                an_outcome(number, unit=users[user], item_id=item, occurred_at=moment, received_at=moment)
            )
    log = FileEventLog(tmp_path / "events")
    log.append(records)
    log.close()
    return ("--slot", "search.ranking", "--log", tmp_path / "events", "--data", data)


def test_what_was_served_is_judged_by_users_and_creators(tmp_path):
    result, document = audited(tmp_path, *serve(tmp_path))
    metrics = {(found["metric"], found["groups"][0].split("=")[0]) for found in document["differences"]}
    assert metrics == {("selection_rate", "age_band"), ("ndcg", "age_band"), ("exposure", "creator_language")}
    assert result.exit_code == 0, result.output
    assert document["groups"]["age_band=old"]["count"] == 1_200


def test_users_who_find_less_and_creators_who_are_shown_less_are_found(tmp_path):
    place = tmp_path / "workspace"
    recorded = ("--record", "the yearly audit", "--workspace", place)
    result, document = audited(tmp_path, *serve(tmp_path, old_get=0.25, french_shown_first=True), *recorded)
    assert result.exit_code == 3
    plans = CliRunner().invoke(app, ["remediations", "list", "--workspace", str(place)])
    assert "search.ranking" in plans.output
    assert "open" in plans.output
    failed = {found["metric"] for found in document["differences"] if found["verdict"] == "failed"}
    assert {"selection_rate", "exposure"} <= failed


def test_a_slot_that_was_not_served_is_named(tmp_path):
    options = serve(tmp_path)
    result = run("--slot", "search.retrieval", *options[2:])
    assert result.exit_code == 2
    assert "there are answers of search.ranking" in result.output
    assert run(*options, "--from", "2031-01-01").exit_code == 2
