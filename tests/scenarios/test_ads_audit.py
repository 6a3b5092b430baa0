"""A click model judged on what it was trained on, and served other features, is refused with both reasons;
the honest one passes.
"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line import composition
from streamrec.command_line.judging import open_gate_runner
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.events.file_event_log import FileEventLog
from streamrec.gates.evaluation_data import load_evaluation_data
from streamrec.gates.model_folders import ModelFolder, model_spec
from tests import ads_story

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def month():
    return ads_story.month_until(ads_story.last_midnight(), seed=3)


@pytest.fixture
def workspace(month, tmp_path, monkeypatch):
    """With a month of imported advertisements, and its last days in the event log as they were served."""
    place = Workspace(tmp_path / "var")
    month.write_data(place.data / "advertisements")
    log = FileEventLog(place.events)
    assert month.log(log) > 3_000
    log.close()
    monkeypatch.setenv("STREAMREC_WORKSPACE", str(place.root))
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    return place


def command(*words, status=0):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert done.exit_code == status, done.output
    return done.output


def register_by_itself(workspace, folder):
    """As a training pipeline does that talks to the registry alone."""
    registry, read = composition.open_registry(workspace), ModelFolder.read(folder)
    evaluation = load_evaluation_data(read.specification, open_gate_runner(), folder=folder)
    version = registry.register(model_spec(read, evaluation, {}), read.artifact)
    for name, content in read.evaluation_files().items():
        registry.attach(version.ref, name, content)
    return version.ref


def judged(workspace, version):
    """What the ledger keeps of a version's gates: reasons by gate, and the evidence of skew."""
    ledger = open_ledger(workspace)
    [entry] = ledger.entries(kinds=[EntryKind.GATES_JUDGED], subject=version)
    gates = {gate["gate"]: gate for gate in ledger.evidence(entry.evidence_digest)["report"]["gates"]}
    codes = {name: [reason["code"] for reason in gate["reasons"]] for name, gate in gates.items()}
    return codes, gates["skew"]["evidence"]


def test_a_model_with_hindsight_is_refused_and_the_honest_one_passes(month, workspace, tmp_path):
    data = workspace.data / "advertisements"
    ads_story.write_with_hindsight(tmp_path / "first", month, data)
    # Registering tells it at once; a pipeline that registers by itself is told when it asks to serve.
    kept_out = command("models", "register", str(tmp_path / "first"), status=3)
    assert "it was trained on what it is judged on" in kept_out
    assert str(register_by_itself(workspace, tmp_path / "first")) == "ads-clicks@1"
    out = tmp_path / "verdict.json"
    refused = command(
        "models", "deploy", "ads-clicks@1", "--reason", "a record AUC", "--json", str(out), status=3
    )
    print(refused)
    for gate, verdict in (
        ("artifact", "passed"),
        ("validation", "failed"),
        ("skew", "failed"),
        ("quality", "passed"),
        ("fairness", "passed"),
        ("latency", "passed"),
    ):
        assert f"{gate}: {verdict}" in refused
    # Both reasons, in what it prints, in the verdict and in the ledger. Its own data claim a clean split.
    assert "it was trained on what it is judged on" in refused
    assert "'ads_seen_today' differs in" in refused
    told = {reason["code"] for reason in json.loads(out.read_text())["reasons"]}
    codes, skew = judged(workspace, "ads-clicks@1")
    assert "evaluated_on_training_data" in codes["validation"]
    assert {"feature_skew", "metric_lost_to_skew"} <= set(codes["skew"])
    assert {"evaluated_on_training_data", "feature_skew", "metric_lost_to_skew"} <= told
    replay = skew["replay"]
    lost, trained = replay["lost"], replay["as_trained"]["value"]
    assert 0.17 < lost["value"] / trained < 0.24
    assert 0.15 < lost["low"] / trained < lost["high"] / trained < 0.26
    assert [column["column"] for column in skew["features"]] == ["ads_seen_today"]

    ads_story.write_honest(tmp_path / "second", month, data)
    assert "registered ads-clicks@2" in command("models", "register", str(tmp_path / "second"))
    let_in = command("models", "deploy", "ads-clicks@2", "--reason", "trained on what serving knows")
    print(let_in)
    for gate in ("artifact", "validation", "skew", "quality", "fairness", "latency"):
        assert f"{gate}: passed" in let_in
    codes, skew = judged(workspace, "ads-clicks@2")
    assert codes["validation"] == codes["skew"] == []
    assert skew["replay"]["requests"] > 3_000
    assert skew["replay"]["lost"]["value"] == 0.0
    kinds = {
        version: [entry.kind for entry in open_ledger(workspace).entries(subject=version)]
        for version in ("ads-clicks@1", "ads-clicks@2")
    }
    assert EntryKind.VERDICT_SIGNED not in kinds["ads-clicks@1"]
    assert EntryKind.VERDICT_SIGNED in kinds["ads-clicks@2"]
    command("ledger", "verify")
