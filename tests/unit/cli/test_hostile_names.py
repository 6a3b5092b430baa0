"""Case 25 of what the platform must survive: names that would be paths, in the commands that decide."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line import composition
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.memory_registry import MemoryModelRegistry

HOSTILE = ["../up", "a..b", "%2e%2e", "a\0b", "a\\b", "a" * 300, "-rf", "/etc/passwd"]
OF_VERSIONS = [
    ["models", "deploy"],
    ["models", "promote"],
    ["models", "revoke"],
    ["reviews", "approve"],
    ["reviews", "reject"],
    ["overrides", "grant", "--days", "1"],
]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Runs a command on a workspace, which has to refuse it, and to touch nothing outside."""
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    ledger, registry = MemoryLedger(), MemoryModelRegistry(tmp_path / "cache")
    monkeypatch.setattr(composition, "open_ledger", lambda _workspace: ledger)
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: registry)
    root = tmp_path / "workspace"
    root.mkdir()

    def outside():
        return sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(root))

    def run(*arguments):
        before = outside()
        group, command, *rest = arguments
        options = ["--reason", "why", "--workspace", str(root)]
        result = CliRunner().invoke(app, [group, command, *options, *rest])
        assert result.exit_code == 2, result.output
        assert outside() == before
        assert not (root / "access.json").exists()
        assert ledger.last() is None
        return result.output

    return run


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((command, name) for command in OF_VERSIONS for name in ("../up", "-rf")),
        *((["models", "revoke"], name) for name in HOSTILE),
    ],
)
def test_a_version_is_no_path(refused, command, name):
    assert "must be NAME@VERSION" in refused(*command, "--", f"{name}@1")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_of_staff_is_no_path(refused, name):
    assert "name" in refused("access", "add", "--role", "platform", "--", name)


@pytest.mark.parametrize("key_id", HOSTILE)
def test_a_key_is_no_path(refused, key_id):
    assert "key_id" in refused("keys", "revoke", "--", key_id)
