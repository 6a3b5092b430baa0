from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamrec.callers.callers_file import CallersFile
from streamrec.callers.follower import CallersFollower

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.fixture
def file(tmp_path):
    return CallersFile(tmp_path / "callers.json")


@pytest.fixture
def refused():
    return []


@pytest.fixture
def follow(file, refused):
    return lambda **more: CallersFollower(file.path, on_refused=refused.append, clock=NOW.timestamp, **more)


def who(follower, token):
    caller = follower.current().identify([f"Bearer {token.secret}"])
    return caller and caller.name


def test_a_change_counts_with_the_next_look(file, follow):
    first = file.add("spoke-a", None, NOW, YEAR)
    follower = follow()
    assert who(follower, first) == "spoke-a"
    second = file.add("spoke-b", None, NOW, YEAR)
    assert who(follower, second) is None
    follower.refresh()
    assert who(follower, second) == "spoke-b"
    file.revoke("spoke-a", None)
    follower.refresh()
    assert (who(follower, first), who(follower, second)) == (None, "spoke-b")


@pytest.mark.parametrize(
    "damage", [lambda p: p.write_bytes(b"{"), lambda p: p.chmod(0o666), lambda p: p.unlink()]
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_counted_once(file, follow, refused, damage):
    token = file.add("spoke", None, NOW, YEAR)
    follower = follow()
    good = file.path.read_bytes()
    damage(file.path)
    for _ in range(3):
        follower.refresh()
    assert who(follower, token) == "spoke"
    assert len(refused) == 1
    assert str(file.path) in follower.problem
    file.path.unlink(missing_ok=True)
    file.path.write_bytes(good)
    file.path.chmod(0o600)
    follower.refresh()
    assert (follower.problem, len(refused)) == ("", 1)


def test_where_there_never_was_a_good_file_nobody_is_known(file, follow, refused):
    follower = follow()
    assert follower.current() is None
    assert refused == ["unreadable"]
    token = file.add("spoke", None, NOW, YEAR)
    follower.refresh()
    assert who(follower, token) == "spoke"


def test_a_file_that_does_not_change_is_not_read_again(file, follow, monkeypatch):
    file.add("spoke", None, NOW, YEAR)
    follower = follow()
    monkeypatch.setattr(CallersFile, "read", lambda _self: pytest.fail("was read again"))
    for _ in range(3):
        follower.refresh()
    assert follower.problem == ""


def test_a_defect_of_the_reader_leaves_the_last_good_file(file, follow, refused, monkeypatch):
    token = file.add("spoke", None, NOW, YEAR)
    follower = follow()

    def broken(_self):
        raise ZeroDivisionError

    monkeypatch.setattr(CallersFile, "read", broken)
    file.path.write_bytes(b"{}")
    follower.refresh()
    assert who(follower, token) == "spoke"
    assert refused == ["defect"]


def test_it_looks_by_itself(file, follow):
    token = file.add("spoke", None, NOW, YEAR)
    follower = follow(interval_s=0.001)
    follower.start()
    try:
        file.revoke("spoke", None)
        for _ in range(10_000):
            if who(follower, token) is None:
                break
            file.path.stat()
        else:
            pytest.fail("the change was not seen")
    finally:
        follower.stop()
