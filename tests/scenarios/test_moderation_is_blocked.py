"""A toxicity model that misses more hate in some languages is blocked, mitigated, judged again and let in."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import EntryKind
from tests.moderation_story import hateful_comments, write_folder, write_mitigated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def comments(data_root):
    return hateful_comments(data_root)


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

    write_mitigated(tmp_path / "second", tmp_path / "first", comments, 2, mitigation["thresholds"])
    assert "registered moderation-toxicity@2" in command("models", "register", str(tmp_path / "second"))
    let_in = command("models", "deploy", "moderation-toxicity@2", "--reason", "a threshold for each language")
    print(let_in)
    assert "fairness: passed" in let_in
    assert "moderation-toxicity@2 is eligible" in let_in

    told = command("ledger", "show", "--slot", "moderation.toxicity")
    assert "moderation-toxicity@2" in told
    kinds = [entry.kind for entry in open_ledger(Workspace(tmp_path / "var")).entries()]
    assert kinds.count(EntryKind.GATES_JUDGED) == 2
    assert kinds.count(EntryKind.VERDICT_SIGNED) == 1
    assert EntryKind.REMEDIATION_OPENED in kinds
    command("ledger", "verify")
