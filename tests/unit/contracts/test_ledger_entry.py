from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.ledger_entry import (
    GENESIS,
    ActorRole,
    EntryKind,
    LedgerEntry,
    verify_chain,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden" / "ledger_chain.json").read_text())
AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


def entry(last=None, **fields):
    defaults = {
        "at": AT,
        "actor": "ada",
        "role": ActorRole.SPOKE,
        "kind": EntryKind.MODEL_REGISTERED,
        "subject": "ranking@1",
    }
    return LedgerEntry.following(last, **{**defaults, **fields})


def chain(length):
    entries = []
    for number in range(length):
        entries.append(entry(entries[-1] if entries else None, reason=f"number {number}"))
    return entries


def test_the_golden_chain_verifies_and_has_these_hashes():
    entries = [LedgerEntry.from_json(document) for document in GOLDEN]
    assert [found.to_json() for found in entries] == GOLDEN
    assert [found.computed_hash() for found in entries] == [document["hash"] for document in GOLDEN]
    assert entries[0].previous == GENESIS
    assert verify_chain(entries) is None


def test_a_chain_is_verified_from_the_start_or_from_a_trusted_entry():
    entries = chain(6)
    assert [found.seq for found in entries] == [1, 2, 3, 4, 5, 6]
    assert verify_chain([]) is None
    assert verify_chain(iter(entries)) is None
    assert verify_chain(entries[3:], after=entries[2]) is None
    assert verify_chain(entries[3:]).seq == 1


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 5),
    st.sampled_from(["actor", "subject", "reason", "kind", "role", "at", "evidence_digest"]),
)
def test_any_edited_field_is_found_at_its_entry(place, name):
    other = {
        "kind": EntryKind.ROLLOUT_COMPLETED,
        "role": ActorRole.PLATFORM,
        "at": AT + timedelta(microseconds=1),
        "evidence_digest": "ab" * 32,
    }
    entries = chain(6)
    entries[place] = replace(entries[place], **{name: other.get(name, "somebody else")})
    found = verify_chain(entries)
    assert (found.seq, found.problem) == (place + 1, "was changed: its hash is not that of its fields")


@pytest.mark.parametrize("place", range(5))
def test_an_edited_entry_with_a_new_hash_breaks_the_next_one(place):
    entries = chain(6)
    edited = replace(entries[place], reason="edited")
    entries[place] = replace(edited, hash=edited.computed_hash())
    found = verify_chain(entries)
    assert found.seq == place + 2
    assert found.problem == "does not name the hash of the entry before it: one of the two was changed"


@pytest.mark.parametrize("place", range(5))
def test_a_left_out_a_repeated_and_an_exchanged_entry_are_found(place):
    entries = chain(6)
    assert verify_chain(entries[:place] + entries[place + 1 :]).seq == place + 1
    assert verify_chain(entries[: place + 1] + entries[place:]).seq == place + 2
    exchanged = [*entries]
    exchanged[place], exchanged[place + 1] = exchanged[place + 1], exchanged[place]
    assert verify_chain(exchanged).seq == place + 1


def test_a_cut_tail_still_verifies_which_is_why_an_anchor_is_kept_elsewhere():
    assert verify_chain(chain(6)[:4]) is None


def test_times_are_written_in_utc():
    east = timezone(timedelta(hours=2))
    assert entry(at=AT.astimezone(east)) == entry()
    assert entry().to_json()["at"] == "2026-11-25T09:30:00Z"
    with pytest.raises(InvalidInputError, match=r"^at: must have a time zone"):
        entry(at=AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"actor": ""}, "actor: "),
        ({"actor": "a" * 257}, "actor: "),
        ({"actor": "a\nb"}, "actor: "),
        ({"subject": "\x1b[31m"}, "subject: "),
        ({"reason": "a" * 2_001}, "reason: "),
        ({"reason": "\ud800"}, "reason: has a lone surrogate"),
        ({"evidence_digest": "ABCD"}, "evidence_digest: "),
    ],
)
def test_refuses_fields_out_of_bounds(fields, problem):
    with pytest.raises(InvalidInputError) as refusal:
        entry(**fields)
    assert str(refusal.value).startswith(problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seq": 0}, "entries.4.seq: "),
        ({"kind": "something_else"}, "entries.4.kind: "),
        ({"role": "king"}, "entries.4.role: "),
        ({"at": "2026-11-25T09:30:00"}, "entries.4.at: "),
        ({"hash": "0" * 63}, "entries.4.hash: "),
        ({"schema": "streamrec.ledger_entry.v2"}, "entries.4.schema: must be 'streamrec.ledger_entry.v1'"),
        ({"extra": 1}, "entries.4.extra: is not a field"),
    ],
    ids=str,
)
def test_a_bad_field_of_a_read_entry_is_named_by_its_path(change, problem):
    with pytest.raises(InvalidInputError) as refusal:
        LedgerEntry.from_json({**GOLDEN[0], **change}, path="entries.4")
    assert str(refusal.value).startswith(problem)
