"""A toxicity model that misses more hate in some languages is blocked, mitigated, judged again and let in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.moderation.toxicity import training
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.gates.fairness.thresholds import THRESHOLDS_FILE

LANGUAGES = ("arabic", "french", "german", "hindi", "spanish")
LEARNED = {"arabic": 0.02, "french": 0.3, "german": 0.3, "hindi": 0.02, "spanish": 0.3}
"""Share of each language that the model is trained on."""
FIRST_HALF = 0.65
"""Of the rest, up to here: what the first version is judged on, and thresholds are fitted on."""
SPECIFICATION = Path(training.__file__).with_name("model.yaml")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def comments(data_root):
    """Every case of HateCheck, with the part that it is for: trained on, first half, second half."""
    numbers = np.random.default_rng(7)
    tables = []
    for language in LANGUAGES:
        cases = pd.read_csv(data_root / "hatecheck" / f"hatecheck_cases_final_{language}.csv")
        place = numbers.random(len(cases))
        part = np.where(place < LEARNED[language], 0, np.where(place < FIRST_HALF, 1, 2))
        tables.append(
            pd.DataFrame(
                {
                    "unit": cases["mhc_case_id"],
                    "text": cases["test_case"],
                    "label": (cases["label_gold"] == "hateful").astype(float),
                    "language": language,
                    "part": part,
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    # What a model is judged on is written after what it learned from.
    days = pd.to_timedelta(table["part"] * 30, unit="D")
    seconds = pd.to_timedelta(np.arange(len(table)), unit="s")
    return table.assign(at=pd.Timestamp("2024-01-01", tz="UTC") + days + seconds)


def write_folder(folder, comments, judged_part, thresholds=None):
    """A model's folder: its specification, the artifact, and what it is judged on."""
    folder.mkdir()
    shutil.copyfile(SPECIFICATION, folder / SPECIFICATION.name)
    learned = comments[comments["part"] == 0]
    learned.to_parquet(folder.parent / training.COMMENTS_FILE)
    training.train(folder.parent, learned["at"].max() + pd.Timedelta("1s"), folder / "artifact")
    if thresholds is not None:
        (folder / "artifact" / THRESHOLDS_FILE).write_text(json.dumps(thresholds))
    judged = comments[comments["part"].isin([0, judged_part])]
    judged.assign(
        request_id=judged["unit"],
        split=np.where(judged["part"] == 0, "train", "validation"),
        **{"group.language": judged["language"]},
    ).drop(columns="part").to_parquet(folder / "evaluation.parquet")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a command on a workspace of its own; returns what it printed."""
    monkeypatch.setenv("STREAMREC_WORKSPACE", str(tmp_path / "var"))
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)

    def run(*words, status=0):
        done = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
        assert done.exit_code == status, done.output
        return done.output

    return run


def fairness_of(workspace, version):
    """What the fairness gate found of a version, as the ledger keeps it."""
    ledger = open_ledger(Workspace(workspace))
    [entry] = ledger.entries(kinds=[EntryKind.GATES_JUDGED], subject=version)
    gates = ledger.evidence(entry.evidence_digest)["report"]["gates"]
    return next(result for result in gates if result["gate"] == "fairness")


def test_it_is_blocked_mitigated_and_let_in(comments, command, tmp_path):
    write_folder(tmp_path / "first", comments, 1)
    assert "registered moderation-toxicity@1" in command("models", "register", str(tmp_path / "first"))
    blocked = command("models", "deploy", "moderation-toxicity@1", "--reason", "first version", status=3)
    print(blocked)
    assert "fairness: failed" in blocked
    for passed in ("artifact", "validation", "quality", "latency"):
        assert f"{passed}: passed" in blocked
    promoting = ("models", "promote", "moderation-toxicity@1", "--reason", "it is good enough")
    assert "fairness" in command(*promoting, status=2)

    found = fairness_of(tmp_path / "var", "moderation-toxicity@1")
    verdict_of = {
        frozenset(difference["groups"]): difference["verdict"]
        for difference in found["evidence"]["differences"]
    }
    # The most comments are Hindi, so the policy's rule compares with them.
    assert verdict_of == {
        frozenset({"language=hindi", "language=arabic"}): "passed",
        **{
            frozenset({"language=hindi", f"language={other}"}): "failed"
            for other in ("french", "german", "spanish")
        },
    }
    mitigation = found["evidence"]["mitigation"]
    assert mitigation["after"]["largest_excess"] < 1.0 < mitigation["before"]["largest_excess"]
    assert "moderation-toxicity@1" in command("remediations", "list")

    write_folder(tmp_path / "second", comments, 2, mitigation["thresholds"])
    assert "registered moderation-toxicity@2" in command("models", "register", str(tmp_path / "second"))
    let_in = command("models", "deploy", "moderation-toxicity@2", "--reason", "a threshold for each language")
    print(let_in)
    assert "fairness: passed" in let_in
    assert "moderation-toxicity@2 is eligible" in let_in
    command("models", "promote", "moderation-toxicity@2", "--reason", "passed on its own merits")

    told = command("ledger", "show", "--slot", "moderation.toxicity")
    assert "moderation-toxicity@2" in told
    kinds = [entry.kind for entry in open_ledger(Workspace(tmp_path / "var")).entries()]
    assert kinds.count(EntryKind.GATES_JUDGED) == 2
    assert kinds.count(EntryKind.VERDICT_SIGNED) == 1
    assert EntryKind.REMEDIATION_OPENED in kinds
    command("ledger", "verify")
