from __future__ import annotations

import json
import re
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.callers.callers_file import MAXIMUM_BYTES, CallersFile
from streamrec.callers.tokens import digest_of, new_token, token_id_of
from streamrec.contracts.callers import MAXIMUM_CALLERS, MAXIMUM_TOKENS, Caller, CallerLimit, Callers
from streamrec.contracts.errors import DocumentRefusedError, InvalidInputError, NotFoundError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY, YEAR = timedelta(days=1), timedelta(days=365)
LIMIT = CallerLimit(requests_per_s=5.0, burst=10, maximum_in_flight=None)


@pytest.fixture
def file(tmp_path):
    return CallersFile(tmp_path / "deep" / "callers.json")


# -- tokens --------------------------------------------------------------------------------------------


def test_a_token_has_256_random_bits_and_is_kept_as_a_digest(file):
    tokens = {new_token(NOW, NOW + DAY).secret for _ in range(50)}
    assert len(tokens) == 50
    token = file.add("spoke", None, NOW, YEAR)
    prefix, token_id, secret = token.secret.split("_", 2)
    assert (prefix, token_id) == ("streamrec", token.kept.token_id)
    assert len(secret) * 6 >= 256
    assert token.kept.sha256 == digest_of(token.secret)
    assert secret not in file.path.read_text()
    assert secret not in repr(token)


@pytest.mark.parametrize(
    "change", [str.upper, lambda t: t[:-1], lambda t: t + "A", lambda t: t + "\n", str.title]
)
def test_what_has_not_the_form_of_a_token_has_no_id(change):
    token = new_token(NOW, NOW + DAY).secret
    assert token_id_of(token) is not None
    assert token_id_of(change(token)) is None


# -- changes -------------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone_and_survives_being_read(file):
    file.add("spoke-a", LIMIT, NOW, YEAR)
    file.add("spoke-b", None, NOW, DAY)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    callers = file.read()
    assert [(caller.name, caller.limit) for caller in callers.callers] == [
        ("spoke-a", LIMIT),
        ("spoke-b", None),
    ]
    assert callers.callers[1].tokens[0].expires_at == NOW + DAY
    assert Callers.from_json(json.loads(file.path.read_text())) == callers


def test_a_rotation_leaves_the_old_token_some_time(file):
    first = file.add("spoke", None, NOW, YEAR)
    second = file.rotate("spoke", NOW + DAY, YEAR, timedelta(hours=2))
    old, new = file.read().callers[0].tokens
    assert (old.token_id, old.expires_at) == (first.kept.token_id, NOW + DAY + timedelta(hours=2))
    assert new == second.kept
    assert new.expires_at == NOW + DAY + YEAR


def test_a_rotation_never_lengthens_a_life_and_drops_what_is_over(file):
    file.add("spoke", None, NOW, timedelta(hours=1))
    file.rotate("spoke", NOW, YEAR, DAY)
    assert file.read().callers[0].tokens[0].expires_at == NOW + timedelta(hours=1)
    file.rotate("spoke", NOW + timedelta(hours=2), YEAR, DAY)
    assert len(file.read().callers[0].tokens) == 2
    third = file.rotate("spoke", NOW + timedelta(hours=2), YEAR, timedelta(0))
    assert file.read().callers[0].tokens == (third.kept,)


def test_a_caller_has_so_many_tokens_and_no_more(file):
    file.add("spoke", None, NOW, YEAR)
    for _ in range(MAXIMUM_TOKENS - 1):
        file.rotate("spoke", NOW, YEAR, DAY)
    before = file.path.read_bytes()
    with pytest.raises(InvalidInputError, match="tokens"):
        file.rotate("spoke", NOW, YEAR, DAY)
    assert file.path.read_bytes() == before


def test_a_token_or_a_caller_is_revoked(file):
    first = file.add("spoke-a", None, NOW, YEAR)
    second = file.rotate("spoke-a", NOW, YEAR, DAY)
    file.add("spoke-b", None, NOW, YEAR)
    file.revoke("spoke-a", first.kept.token_id)
    assert file.read().callers[0].tokens == (second.kept,)
    with pytest.raises(NotFoundError, match="streamrec callers list"):
        file.revoke("spoke-a", first.kept.token_id)
    file.revoke("spoke-a", None)
    assert [caller.name for caller in file.read().callers] == ["spoke-b"]
    file.revoke("spoke-b", None)
    assert file.read().callers == ()  # and nobody is let in


def test_limits_are_set_and_taken_away(file):
    file.limit(None, LIMIT)
    assert file.read() == Callers(default_limit=LIMIT, callers=())
    file.add("spoke", None, NOW, YEAR)
    file.limit("spoke", LIMIT)
    file.limit(None, None)
    callers = file.read()
    assert (callers.default_limit, callers.callers[0].limit) == (None, LIMIT)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.rotate("nobody", NOW, YEAR, DAY),
        lambda file: file.revoke("nobody", None),
        lambda file: file.limit("nobody", None),
    ],
    ids=["rotate", "revoke", "limit"],
)
def test_nobody_is_changed(file, change):
    with pytest.raises(NotFoundError, match="streamrec callers add"):
        change(file)
    assert not file.path.exists()
    file.add("spoke", None, NOW, YEAR)
    with pytest.raises(NotFoundError, match="'nobody'"):
        change(file)


@pytest.mark.parametrize(
    "name", ["", "Spoke", "a b", "-a", "a--b", "a_b", "a/b", "../a", "a\n", "ä", "1a", "a" * 65]
)
def test_a_name_that_is_none_is_refused(file, name):
    with pytest.raises(InvalidInputError, match="lower-case"):
        file.add(name, None, NOW, YEAR)
    assert not file.path.exists()


def test_a_name_is_taken_once(file):
    file.add("spoke", None, NOW, YEAR)
    with pytest.raises(InvalidInputError, match="streamrec callers rotate spoke"):
        file.add("spoke", None, NOW, YEAR)


def test_changes_at_the_same_time_come_one_after_the_other(file):
    names = [f"spoke-{number}" for number in range(8)]
    threads = [threading.Thread(target=file.add, args=(name, None, NOW, YEAR)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(caller.name for caller in file.read().callers) == names


def test_as_many_callers_as_there_may_be_fit_into_the_file():
    tokens = [new_token(NOW, NOW + YEAR).kept for _ in range(MAXIMUM_TOKENS)]
    one = Caller("c" * 64, tuple(tokens), replace(LIMIT, maximum_in_flight=100_000))
    assert (
        len(json.dumps(Callers(default_limit=LIMIT, callers=(one,)).to_json(), indent=2)) * MAXIMUM_CALLERS
        < MAXIMUM_BYTES
    )


# -- files that cannot be used -------------------------------------------------------------------------


def damaged(file, **changes):
    document = json.loads(file.path.read_text())
    document["callers"][0] |= changes
    return json.dumps(document).encode()


DAMAGED = {
    "empty": (lambda _file: b"", "malformed"),
    "cut off": (lambda file: file.path.read_bytes()[:-10], "malformed"),
    "no UTF-8": (lambda _file: b"\xff\xfe", "malformed"),
    "a key twice": (lambda _file: b'{"schema": 1, "schema": 2}', "malformed"),
    "a list": (lambda _file: b"[]", "malformed"),
    "too large": (lambda _file: b" " * (MAXIMUM_BYTES + 1), "too_large"),
    "another schema": (lambda _file: b'{"schema": "streamrec.traffic.v1"}', "invalid_content"),
    "an unknown field": (lambda file: damaged(file, admin=True), "invalid_content"),
    "a token in the clear": (lambda file: damaged(file, tokens=["secret"]), "invalid_content"),
    "a name that is none": (lambda file: damaged(file, name="A"), "invalid_content"),
    "a limit of 0": (
        lambda file: damaged(file, limit={"requests_per_s": 0, "burst": 1, "maximum_in_flight": None}),
        "invalid_content",
    ),
}


@pytest.mark.parametrize(("content", "code"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_and_never_written_over(file, content, code):
    file.add("spoke", None, NOW, YEAR)
    written = content(file)
    file.path.write_bytes(written)
    with pytest.raises(DocumentRefusedError, match=re.escape(str(file.path))) as refused:
        file.read()
    assert refused.value.code == code
    with pytest.raises(DocumentRefusedError):
        file.add("another", None, NOW, YEAR)
    assert file.path.read_bytes() == written


def test_the_same_caller_or_token_twice_is_refused(file):
    file.add("spoke", None, NOW, YEAR)
    (caller,) = file.read().callers
    for twice in (caller, replace(caller, name="another")):
        with pytest.raises(InvalidInputError, match="twice"):
            Callers(default_limit=None, callers=(caller, twice))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o604, 0o666])
def test_a_file_that_others_can_change_or_read_is_refused(file, mode):
    file.add("spoke", None, NOW, YEAR)
    file.path.chmod(mode)
    with pytest.raises(DocumentRefusedError, match=f"chmod 600 {file.path}"):
        file.read()


def test_a_group_may_read_it(file):
    file.add("spoke", None, NOW, YEAR)
    file.path.chmod(0o640)
    assert file.read().callers


def test_a_folder_is_no_file(file):
    file.path.mkdir(parents=True)
    with pytest.raises(DocumentRefusedError, match="cannot be read"):
        file.read()
