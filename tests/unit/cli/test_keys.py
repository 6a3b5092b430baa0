from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.access.staff_file import StaffFile
from streamrec.command_line import composition
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.documents.key_folder import KeyFolder
from streamrec.ledger.memory_ledger import MemoryLedger


@pytest.fixture(autouse=True)
def ledger(monkeypatch):
    kept = MemoryLedger()
    monkeypatch.setattr(composition, "open_ledger", lambda _workspace: kept)
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    return kept


@pytest.fixture
def run(tmp_path):
    return lambda *arguments: CliRunner().invoke(app, ["keys", *arguments, "--workspace", str(tmp_path)])


@pytest.fixture
def keys(tmp_path):
    return KeyFolder(Workspace(tmp_path).keys)


def states(run):
    shown = run("list")
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2 and len(row[0]) == 16}


def test_looking_makes_no_key(run, keys, tmp_path):
    assert "the first publication of a document makes one" in run("list").stdout
    assert keys.signing_key_id() is None
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_rotated_and_then_revoked(run, keys, ledger):
    old = keys.signing_key().key_id
    assert states(run) == {old: "signs"}
    rotated = run("rotate")
    new = keys.signing_key_id()
    assert rotated.stdout.startswith(f"{new} signs from now on\n")
    assert f"streamrec keys revoke {old}" in rotated.stdout
    assert states(run) == {old: "trusted", new: "signs"}
    assert f"{old} is revoked" in run("revoke", old).stdout
    assert states(run) == {old: "revoked", new: "signs"}
    assert "was revoked before" in run("revoke", old).stdout
    assert [(entry.kind, entry.subject) for entry in ledger.entries()] == [
        (EntryKind.KEY_ADDED, new),
        (EntryKind.KEY_REVOKED, old),
    ]


@pytest.mark.parametrize("command", [("rotate",), ("revoke", "0" * 16), ("sign-again",)])
def test_keys_are_changed_by_the_role_platform_alone(run, keys, ledger, tmp_path, monkeypatch, command):
    before = keys.signing_key().key_id
    staff = StaffFile(Workspace(tmp_path).access)
    now, day = datetime.now(UTC), timedelta(days=1)
    staff.add("ada", [ActorRole.PLATFORM], (), now, day)
    assert "set STREAMREC_TOKEN" in run(*command).output
    token = staff.add("bob", [ActorRole.REVIEWER], (), now, day)
    monkeypatch.setenv("STREAMREC_TOKEN", token.secret)
    refused = run(*command)
    assert refused.exit_code == 2
    assert "needs the role platform" in refused.output
    assert keys.signing_key_id() == before
    assert ledger.last() is None


def test_the_first_rotation_makes_the_first_key(run, keys):
    shown = run("rotate").stdout
    assert shown == f"{keys.signing_key_id()} signs from now on\n"


def test_nothing_that_is_printed_holds_a_private_key(run, keys):
    secret = keys.signing_key().to_pem().splitlines()[1].decode()
    for command in (("list",), ("rotate",), ("list",), ("revoke", keys.signing_key_id())):
        assert secret not in run(*command).output


@pytest.mark.parametrize("key_id", ["x", "0" * 16, "../signing_key"])
def test_what_is_no_key_is_one_line_and_exit_code_2(run, keys, key_id):
    keys.signing_key()
    refused = run("revoke", key_id)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1


def test_the_signing_key_is_revoked_only_after_a_rotation(run, keys):
    refused = run("revoke", keys.signing_key().key_id)
    assert refused.exit_code == 2
    assert "streamrec keys rotate" in refused.stderr


def test_a_private_key_that_others_can_read_is_refused(run, keys, tmp_path):
    keys.signing_key()
    path = tmp_path / "keys" / "signing_key.pem"
    path.chmod(0o644)
    refused = run("list")
    assert refused.exit_code == 2
    assert f"chmod 600 {path}" in refused.stderr


def test_a_signing_key_that_nobody_trusts_is_shown_as_such(run, keys):
    key_id = keys.signing_key().key_id
    (keys.public_folder / f"{key_id}.pem").unlink()
    assert f"{key_id}  " in run("list").stdout
    assert "is not trusted" in run("list").stdout
