from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.access.identity import Identity, local_owner
from streamrec.access.permissions import COMMANDS, role_for
from streamrec.access.staff_file import StaffFile, acting
from streamrec.command_line.composition import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import (
    DependencyError,
    DocumentRefusedError,
    InvalidInputError,
    PermissionDeniedError,
)
from streamrec.contracts.ledger_entry import ActorRole, EntryKind

NOW = datetime(2026, 11, 28, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def file(tmp_path):
    return StaffFile(tmp_path / "access.json")


def add(file, name="ada", roles=(ActorRole.PLATFORM,), slots=(), lifetime=DAY):
    return file.add(name, roles, slots, NOW, lifetime).secret


def who(file, token, at=NOW):
    return acting(file, token, at.timestamp)


def test_without_a_file_the_owner_acts_in_every_role_by_the_account(file, monkeypatch):
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    owner = who(file, None)
    assert owner.roles == frozenset(ActorRole)
    assert owner.actor != "somebody-else"
    assert not owner.by_token


def test_a_token_says_who_acts_and_is_kept_as_a_digest_alone(file):
    token = add(file)
    assert who(file, token) == Identity("ada", frozenset({ActorRole.PLATFORM}), ())
    assert token not in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_with_a_file_nobody_acts_without_a_token_that_counts(file):
    token = add(file)
    other = StaffFile(file.path.with_name("other.json"))
    foreign = other.add("eve", [ActorRole.PLATFORM], (), NOW, DAY).secret
    for sent, at in (
        (None, NOW),
        ("", NOW),
        ("x", NOW),
        (token[:-1], NOW),
        (foreign, NOW),
        (token, NOW + DAY),
    ):
        with pytest.raises(PermissionDeniedError) as refused:
            who(file, sent, at)
        assert token not in str(refused.value)
        assert not sent or sent not in str(refused.value).split()


def test_a_token_in_a_workspace_without_a_file_is_a_mistake(file):
    with pytest.raises(PermissionDeniedError, match="right workspace"):
        who(file, "streamrec_" + "0" * 12 + "_" + "a" * 43)


def test_rotation_and_revocation(file):
    old = add(file)
    new = file.rotate("ada", NOW, 2 * DAY, timedelta(hours=1)).secret
    assert who(file, old).actor == who(file, new).actor == "ada"
    with pytest.raises(PermissionDeniedError):
        who(file, old, NOW + timedelta(hours=1))
    bob = add(file, "bob", [ActorRole.REVIEWER])
    file.revoke("bob", None, NOW)
    with pytest.raises(PermissionDeniedError):
        who(file, bob)


def test_somebody_with_the_role_platform_always_stays(file):
    with pytest.raises(InvalidInputError, match="role platform"):
        add(file, "bob", [ActorRole.REVIEWER])
    assert not file.path.exists()
    add(file)
    with pytest.raises(InvalidInputError, match="role platform"):
        file.revoke("ada", None, NOW)


def test_a_file_that_others_may_change_is_refused(file):
    token = add(file)
    file.path.chmod(0o620)
    with pytest.raises(DocumentRefusedError, match="chmod 600"):
        who(file, token)


@pytest.mark.parametrize("slot", ["shop", "shop.", ".ranking", "Shop.x", "shop.*x", "*", "*.*"])
def test_a_slot_that_is_none_is_refused(file, slot):
    with pytest.raises(InvalidInputError, match="slots"):
        add(file, slots=[slot])


def test_what_cannot_be_written_down_does_not_happen(file):
    def full(_evidence):
        raise DependencyError("disk full")

    with pytest.raises(DependencyError):
        file.add("ada", [ActorRole.PLATFORM], (), NOW, DAY, record=full)
    assert not file.path.exists()


def test_a_spoke_acts_in_its_own_slots_alone():
    spoke = Identity("bob", frozenset({ActorRole.SPOKE}), ("shop.*", "ads.clicks"))
    assert role_for(spoke, "models deploy", "shop.ranking") is ActorRole.SPOKE
    assert role_for(spoke, "models deploy", "ads.clicks") is ActorRole.SPOKE
    for slot in ("ads.views", "shopping.ranking", None):
        with pytest.raises(PermissionDeniedError, match="bob acts for"):
            role_for(spoke, "models deploy", slot)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("role", ActorRole)
def test_each_command_is_allowed_by_its_roles_alone(command, role):
    identity = Identity("bob", frozenset({role}), ("shop.*",))
    if role in COMMANDS[command]:
        assert role_for(identity, command, "shop.ranking") is role
    else:
        with pytest.raises(PermissionDeniedError, match="needs the role"):
            role_for(identity, command, "shop.ranking")


def test_the_owner_deploys_as_the_platform():
    assert role_for(local_owner(), "models deploy", "shop.ranking") is ActorRole.PLATFORM


def test_the_commands_hold_the_roles_and_write_the_ledger(tmp_path, monkeypatch):
    def run(*arguments):
        return CliRunner().invoke(app, ["access", *arguments, "--workspace", str(tmp_path)])

    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    added = run("add", "ada", "--role", "platform")
    assert added.exit_code == 0, added.output
    (token,) = added.stdout.splitlines()
    assert run("list").exit_code == 2
    monkeypatch.setenv("STREAMREC_TOKEN", token)
    bob = run("add", "bob", "--role", "reviewer", "--slot", "shop.*")
    assert bob.exit_code == 0, bob.output
    assert "bob" in run("list").output
    assert run("revoke", "bob").exit_code == 0
    monkeypatch.setenv("STREAMREC_TOKEN", bob.stdout.splitlines()[0])
    assert "unknown, revoked or expired" in run("list").output
    entries = list(open_ledger(Workspace(tmp_path)).entries())
    assert [(entry.kind, entry.subject) for entry in entries] == [
        (EntryKind.TOKEN_ISSUED, "ada"),
        (EntryKind.TOKEN_ISSUED, "bob"),
        (EntryKind.TOKEN_REVOKED, "bob"),
    ]
    assert [entry.actor for entry in entries][1:] == ["ada", "ada"]
    everything = json.dumps([entry.to_json() for entry in entries])
    assert token not in everything
