from __future__ import annotations

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.callers.authentication import CallerDirectory
from streamrec.callers.callers_file import CallersFile
from streamrec.contracts.callers import CallerLimit


@pytest.fixture
def run(tmp_path):
    return lambda *arguments: CliRunner().invoke(app, ["callers", *arguments, "--workspace", str(tmp_path)])


@pytest.fixture
def file(tmp_path):
    return CallersFile(tmp_path / "callers.json")


def who(file, token):
    caller = CallerDirectory(file.read()).identify([f"Bearer {token}"])
    return caller and caller.name


def test_the_token_stands_alone_on_stdout_and_works(run, file):
    added = run("add", "spoke")
    assert added.exit_code == 0, added.output
    (token,) = added.stdout.splitlines()
    assert who(file, token) == "spoke"
    assert token not in added.stderr
    assert "not shown again" in added.stderr
    assert token not in run("list").output


def test_a_rotated_token_works_beside_the_old_one_and_revoking_ends_them(run, file):
    old = run("add", "spoke").stdout.strip()
    new = run("rotate", "spoke", "--lifetime-days", "10").stdout.strip()
    assert (who(file, old), who(file, new)) == ("spoke", "spoke")
    days = [(token.expires_at - datetime.now(UTC)).days for token in file.read().callers[0].tokens]
    assert days == [0, 9]
    assert run("revoke", "spoke", "--token", old.split("_")[1]).exit_code == 0
    assert (who(file, old), who(file, new)) == (None, "spoke")
    assert run("revoke", "spoke").exit_code == 0
    assert who(file, new) is None


def test_a_rotation_without_overlap_ends_the_old_token(run, file):
    old = run("add", "spoke").stdout.strip()
    run("rotate", "spoke", "--overlap-h", "0")
    assert who(file, old) is None


def test_limits_are_set_shown_and_taken_away(run, file):
    run("add", "spoke-a", "--requests-per-s", "2.5", "--in-flight", "4")
    run("add", "spoke-b")
    run("limit", "--requests-per-s", "100", "--burst", "7")
    shown = run("list").stdout
    assert "2.5 a second, 2 at once, 4 under way" in shown
    assert "100 a second, 7 at once" in shown
    assert file.read().default_limit == CallerLimit(requests_per_s=100.0, burst=7, maximum_in_flight=None)
    run("limit", "spoke-a")
    run("limit")
    assert run("list").stdout.count("no limit") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("rotate", "nobody"),
        ("add", "Not_A_Name"),
        ("add", "spoke", "--burst", "3"),
        ("add", "spoke", "--requests-per-s", "0"),
        ("add", "spoke", "--requests-per-s", "nan"),
        ("add", "spoke", "--lifetime-days", "0"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_exit_code_2_and_makes_no_file(run, file, arguments):
    refused = run(*arguments)
    assert refused.exit_code == 2, refused.output
    assert refused.stdout == ""
    assert not file.path.exists()


def test_the_file_may_lie_elsewhere(run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "secrets" / "callers.json"
    assert run("add", "spoke", "--callers", str(elsewhere)).exit_code == 0
    monkeypatch.setenv("STREAMREC_CALLERS", str(elsewhere))
    assert "spoke" in run("list").stdout
