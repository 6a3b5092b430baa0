from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.callers import tokens
from streamrec.callers.authentication import CallerDirectory
from streamrec.callers.callers_file import CallersFile
from streamrec.callers.tokens import new_token

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


@pytest.fixture
def file(tmp_path):
    return CallersFile(tmp_path / "callers.json")


def identified(file, *headers, at=NOW):
    caller = CallerDirectory(file.read(), at.timestamp).identify(headers)
    return caller and caller.name


def test_callers_are_told_apart_by_any_of_their_tokens(file):
    first = file.add("spoke-a", None, NOW, YEAR).secret
    other = file.add("spoke-b", None, NOW, YEAR).secret
    second = file.rotate("spoke-a", NOW, YEAR, HOUR).secret
    found = [identified(file, f"Bearer {token}") for token in (first, second, other)]
    assert found == ["spoke-a", "spoke-a", "spoke-b"]


@pytest.mark.parametrize("written", ["bearer {}", "BEARER {}", "Bearer  {} ", " Bearer {}"])
def test_the_scheme_is_read_as_http_does(file, written):
    token = file.add("spoke", None, NOW, YEAR).secret
    assert identified(file, written.format(token)) == "spoke"


def test_a_token_counts_until_it_expires(file):
    token = file.add("spoke", None, NOW, HOUR).secret
    assert identified(file, f"Bearer {token}", at=NOW + HOUR - timedelta(seconds=1)) == "spoke"
    assert identified(file, f"Bearer {token}", at=NOW + HOUR) is None


def test_nothing_else_counts(file):
    token = file.add("spoke", None, NOW, YEAR).secret
    revoked = file.add("another", None, NOW, YEAR).secret
    file.revoke("another", None)
    wrong_secret = token[:-5] + ("A" * 5 if token[-5:] != "AAAAA" else "B" * 5)
    kept = file.read().callers[0].tokens[0]
    for headers in (
        (),
        ("",),
        ("Bearer",),
        ("Bearer ",),
        (token,),
        (f"Basic {token}",),
        (f"Bearer {token}x",),
        (f"Bearer {token} {token}",),
        (f"Bearer {wrong_secret}",),
        (f"Bearer {revoked}",),
        (f"Bearer {new_token(NOW, NOW + YEAR).secret}",),
        (f"Bearer {kept.sha256}",),
        (f"Bearer streamrec_{kept.token_id}_{kept.sha256[:43]}",),
        ("Bearer ä" + token,),
        (f"Bearer {token}", f"Bearer {token}"),
        (f"Bearer {token}{' ' * 300}",),
    ):
        assert identified(file, *headers) is None, headers


def test_every_request_costs_one_comparison_in_constant_time(file, monkeypatch):
    token = file.add("spoke", None, NOW, YEAR).secret
    compared = []
    compare = hmac.compare_digest

    def compare_digest(sent, kept):
        compared.append((sent, kept))
        return compare(sent, kept)

    monkeypatch.setattr(tokens.hmac, "compare_digest", compare_digest)
    for header in (f"Bearer {token}", f"Bearer {new_token(NOW, NOW).secret}", "Bearer x", "Basic x"):
        identified(file, header)
    assert len(compared) == 4
    assert {len(kept) for _, kept in compared} == {64}
