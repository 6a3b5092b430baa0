from __future__ import annotations

import json
import multiprocessing
import sqlite3
import subprocess
import sys
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.documents.key_folder import KeyFolder
from streamrec.ledger.ledger import Decision
from streamrec.ledger.served import TrafficEvidence, traffic_decisions
from streamrec.ledger.sql_ledger import SqlLedger
from tests.unit.ledger.made_ledger import NOON, MinuteClock, decided

SLOT = "moderation.toxicity"


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def run(tmp_path):
    return lambda *arguments: CliRunner().invoke(app, ["ledger", *arguments, "--workspace", str(tmp_path)])


@pytest.fixture
def ledger(place):
    """Minute 0 registered, 1 gates, 2 approved, 3 promoted."""
    made = SqlLedger.in_file(place.ledger, clock=MinuteClock())
    made.append(decided("toxicity@1", kind=EntryKind.MODEL_REGISTERED))
    made.append(decided("toxicity@1", evidence={"verdict": "passed", "gates": 6}))
    made.append(Decision("lena", ActorRole.REVIEWER, EntryKind.REVIEW_APPROVED, "toxicity@1", "looked at it"))
    change = TrafficEvidence(7, {}, {SLOT: ModelRef.parse("toxicity@1")}, "promoted")
    made.append_all(traffic_decisions(change, actor="omar", role=ActorRole.PLATFORM, reason="it is fair"))
    yield made
    made.close()


def by_hand(place, *statements):
    """As somebody who may do everything to the file would."""
    with sqlite3.connect(place.ledger) as connection:
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_looking_makes_no_ledger(run, tmp_path):
    for command in (("show",), ("export", "--output", str(tmp_path / "x.jsonl")), ("anchor",)):
        assert "nothing was decided in this workspace" in run(*command).stderr
        assert run(*command).exit_code == 2
    assert run("verify").exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_anchored_verifies(run, ledger, tmp_path):
    assert "not anchored" in run("verify").stdout
    assert "anchored entry 4" in run("anchor").stdout
    verified = run("verify", "--json", str(tmp_path / "found.json"))
    assert (verified.exit_code, verified.stdout.splitlines()[-1]) == (0, "passed")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["schema"] == "streamrec.ledger_verification.v1"
    assert (found["verdict"], found["entries"], found["anchored"], found["bad"]) == ("passed", 4, 4, None)
    assert found["last"]["hash"] == ledger.last().hash


@pytest.mark.parametrize(
    ("statements", "seq", "code"),
    [
        (["UPDATE ledger_entries SET actor = 'other' WHERE seq = 2"], 2, "chain_broken"),
        (["UPDATE ledger_entries SET kind = 'guessed' WHERE seq = 3"], 3, "entry_unreadable"),
        (["UPDATE ledger_entries SET actor = CAST(x'ff' AS TEXT) WHERE seq = 3"], 3, "entry_unreadable"),
        (["DELETE FROM ledger_entries WHERE seq = 1"], 1, "chain_broken"),
        (["DELETE FROM ledger_entries WHERE seq > 2"], 3, "tail_cut"),
        (["DELETE FROM ledger_entries"], 1, "tail_cut"),
        (
            [
                "UPDATE ledger_entries SET seq = 9 WHERE seq = 2",
                "UPDATE ledger_entries SET seq = 2 WHERE seq = 3",
                "UPDATE ledger_entries SET seq = 3 WHERE seq = 9",
            ],
            2,
            "chain_broken",
        ),
        (["UPDATE ledger_evidence SET content = x'7b7d'"], 2, "evidence_changed"),
        (["PRAGMA foreign_keys = OFF", "DELETE FROM ledger_evidence"], 2, "evidence_missing"),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_what_a_hand_did_to_the_file_is_named(run, place, tmp_path, statements, seq, code):
    run("anchor")
    by_hand(place, *statements)
    found = run("verify", "--json", str(tmp_path / "found.json"))
    assert found.exit_code == 3
    [reason] = json.loads((tmp_path / "found.json").read_text())["reasons"]
    assert (reason["code"], reason["path"]) == (code, f"entries.{seq}")
    assert f"entry {seq} " in found.stdout


def test_a_ledger_that_is_gone_is_a_cut_tail(run, place, ledger):
    run("anchor")
    ledger.close()
    place.ledger.unlink()
    found = run("verify")
    assert (found.exit_code, "entry 1 is missing" in found.stdout) == (3, True)


@pytest.mark.usefixtures("ledger")
def test_a_table_that_is_gone_is_damage(run, place):
    by_hand(place, "DROP TABLE ledger_entries")
    found = run("verify")
    assert (found.exit_code, "no such table" in found.stdout) == (3, True)


def test_a_file_that_is_no_database_is_damaged(run, place, ledger):
    ledger.close()
    for file in place.ledger.parent.glob("*-*"):
        file.unlink()
    place.ledger.write_bytes(b"no database" * 1_000)
    found = run("verify")
    assert (found.exit_code, "is damaged" in found.stdout) == (3, True)


@pytest.mark.usefixtures("ledger")
def test_an_anchor_that_nobody_trusted_has_signed_is_a_fault(run, place):
    run("anchor")
    content = place.ledger_anchor.read_bytes()
    place.ledger_anchor.write_bytes(content.replace(b'"seq":4', b'"seq":3'))
    found = run("verify")
    assert (found.exit_code, "the anchor is refused" in found.stdout) == (3, True)


@pytest.mark.usefixtures("ledger")
def test_anchors_elsewhere_are_compared_with_the_keys_that_are_named(run, place, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "anchor.json"
    assert f"in {elsewhere}" in run("anchor", "--to", str(elsewhere)).stdout
    assert not place.ledger_anchor.exists()
    assert run("verify", "--anchor", str(elsewhere)).stdout.splitlines()[-1] == "passed"
    by_hand(place, "DELETE FROM ledger_entries WHERE seq = 4")
    assert run("verify").exit_code == 0
    assert run("verify", "--anchor", str(elsewhere)).exit_code == 3
    assert run("verify", "--anchor", str(tmp_path / "none.json")).exit_code == 2
    other = KeyFolder(tmp_path / "other keys")
    other.signing_key()
    refused = run("verify", "--anchor", str(elsewhere), "--public-keys", str(other.public_folder))
    assert (refused.exit_code, "refused" in refused.stdout) == (3, True)


@pytest.mark.usefixtures("ledger")
def test_an_anchor_is_signed_again_before_its_key_is_revoked(run, place):
    run("anchor")
    keys = KeyFolder(place.keys)
    old = keys.signing_key().key_id
    keys.rotate()
    run("anchor")
    keys.revoke(old)
    assert run("verify").stdout.splitlines()[-1] == "passed"


@pytest.mark.usefixtures("ledger")
def test_a_cut_ledger_is_not_anchored_over(run, place):
    run("anchor")
    by_hand(place, "DELETE FROM ledger_entries WHERE seq > 2")
    refused = run("anchor")
    assert (refused.exit_code, "no longer holds entry 4" in refused.stderr) == (2, True)


def test_what_is_appended_is_anchored_by_itself(run, place):
    open_ledger(place).append(decided())
    assert run("verify").stdout.splitlines()[-1] == "passed"
    by_hand(place, "DELETE FROM ledger_entries WHERE seq = 1")
    assert run("verify").exit_code == 3


def append_some(place):
    ledger = open_ledger(place)
    for _ in range(5):
        ledger.append(decided())


def test_processes_that_append_at_once_leave_the_newest_anchor(run, place, tmp_path):
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=append_some, args=(place,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    run("verify", "--json", str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["entries"], found["anchored"]) == (20, 20)


@pytest.mark.usefixtures("ledger")
def test_an_export_is_verified_without_the_ledger(run, place, tmp_path):
    file = tmp_path / "kept.jsonl"
    assert f"4 entries in {file}" in run("export", "--output", str(file)).stdout
    run("anchor")
    place.ledger.unlink()
    verified = run("verify", "--file", str(file), "--anchor", str(place.ledger_anchor))
    assert verified.stdout.splitlines()[-1] == "passed"
    file.write_text(file.read_text().replace("lena", "mira"))
    assert run("verify", "--file", str(file)).exit_code == 3
    assert run("export", "--output", str(file)).exit_code == 2


def test_an_export_may_be_older_than_the_anchor(run, place, ledger, tmp_path):
    file = tmp_path / "kept.jsonl"
    run("export", "--output", str(file))
    ledger.append(decided())
    run("anchor")
    assert run("verify", "--file", str(file)).exit_code == 0
    assert run("verify", "--file", str(file), "--anchor", str(place.ledger_anchor)).exit_code == 3


@pytest.mark.usefixtures("ledger")
def test_what_served_a_slot_is_told_with_who_approved_it(run, tmp_path):
    at = (NOON + timedelta(minutes=5)).isoformat()
    shown = run("show", "--slot", SLOT, "--at", at, "--json", str(tmp_path / "served.json"))
    assert shown.exit_code == 0, shown.output
    for text in (
        f"{SLOT} at 2026-03-01 12:05:00: toxicity@1",
        "revision 7 (entry 4, promoted)",
        "omar (platform): it is fair",
        "lena (reviewer, entry 3)",
    ):
        assert text in shown.stdout
    served = json.loads((tmp_path / "served.json").read_text())
    assert (served["version"], served["revision"], served["before"]) == ("toxicity@1", 7, None)
    assert [one["actor"] for one in served["approved_by"]] == ["lena"]
    assert [(one["kind"], one["verdict"]) for one in served["decisions"]] == [
        ("model_registered", None),
        ("gates_judged", "passed"),
        ("review_approved", None),
    ]


@pytest.mark.usefixtures("ledger")
def test_before_anything_was_promoted_the_answer_is_inconclusive(run):
    shown = run("show", "--slot", SLOT, "--at", "2026-03-01T12:02Z")
    assert (shown.exit_code, "no version had been promoted" in shown.stdout) == (4, True)


@pytest.mark.usefixtures("ledger")
def test_entries_are_shown_newest_last(run, tmp_path):
    shown = run("show", "--subject", "toxicity@1", "--last", "2", "--json", str(tmp_path / "entries.json"))
    assert "looked at it" in shown.stdout
    entries = json.loads((tmp_path / "entries.json").read_text())["entries"]
    assert [entry["seq"] for entry in entries] == [2, 3]
    assert "traffic_changed" in run("show", "--kind", "traffic_changed").stdout
    assert "no entries" in run("show", "--kind", "key_added").stdout


def test_evidence_is_printed_as_json(run, ledger):
    digest = next(ledger.entries(kinds=[EntryKind.GATES_JUDGED])).evidence_digest
    assert json.loads(run("show", "--evidence", digest).stdout) == {"verdict": "passed", "gates": 6}
    assert run("show", "--evidence", "2").stdout == run("show", "--evidence", digest).stdout
    for nothing in ("0" * 64, "1", "0", "99"):
        assert run("show", "--evidence", nothing).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--at", "2026-03-01"),
        ("--slot", SLOT, "--subject", "x"),
        ("--slot", SLOT, "--at", "noon"),
        ("--slot", "Not A Slot"),
        ("--last", "0"),
        ("--kind", "guessed"),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_what_cannot_be_shown_is_refused(run, arguments):
    assert run("show", *arguments).exit_code == 2


def test_a_command_that_is_not_about_the_ledger_starts_without_its_libraries():
    code = "import sys, services.cli.main; print({'sqlalchemy', 'alembic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
