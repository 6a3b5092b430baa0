from __future__ import annotations

import pytest

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import ArtifactError, InvalidInputError, NotFoundError
from streamrec.ledger.exports import announced_entries, read_export, write_export
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.ledger.verification import Damage, verify
from tests.unit.ledger.made_ledger import ledger_of


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "folder" / "ledger.jsonl"
    write_export(ledger_of(6), path)
    return path


def found_in(path, lines):
    path.write_bytes(b"".join(lines))
    return verify(read_export(path))


def test_what_is_exported_is_read_back(exported):
    ledger = ledger_of(6)
    assert list(read_export(exported)) == list(ledger.stored())
    assert verify(read_export(exported)).last == ledger.last()


def test_every_line_is_canonical_json(exported):
    lines = exported.read_bytes().splitlines()
    assert [canonical_json(parse_json(line, maximum_bytes=10_000)) for line in lines] == lines


def test_an_export_announces_how_many_entries_it_has(exported):
    assert announced_entries(exported) == 6
    for content in (b"", b"\n", b"{}", b"[1]", b'{"end":3}', b'{"end":{"entries":"6"}}', b"\xff" * 300):
        exported.write_bytes(content)
        assert announced_entries(exported) == 0
    assert announced_entries(exported / "nothing") == 0


def test_an_empty_ledger_can_be_exported(tmp_path):
    write_export(MemoryLedger(), tmp_path / "empty.jsonl")
    assert list(read_export(tmp_path / "empty.jsonl")) == []


def test_a_file_that_is_there_stays(exported):
    before = exported.read_bytes()
    with pytest.raises(InvalidInputError, match="there already"):
        write_export(ledger_of(2), exported)
    assert exported.read_bytes() == before


def test_a_ledger_that_does_not_verify_is_not_exported(tmp_path):
    ledger = ledger_of(4)
    ledger._evidence.clear()
    with pytest.raises(ArtifactError, match="entry 2 of the ledger names the evidence"):
        write_export(ledger, tmp_path / "ledger.jsonl")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 1, 3, 6])
def test_a_file_that_lost_lines_at_its_end_is_not_whole(exported, kept):
    found = found_in(exported, exported.read_bytes().splitlines(keepends=True)[:kept])
    assert (found.entries, found.bad.seq, found.bad.damage) == (kept, kept + 1, Damage.UNREADABLE)
    assert "was cut" in found.bad.problem


def test_a_line_that_was_cut_is_named(exported):
    content = exported.read_bytes()
    found = found_in(exported, [content[: content.index(b"\n") + 40]])
    assert (found.entries, found.bad.seq) == (1, 2)


def test_a_line_that_is_missing_is_named(exported):
    lines = exported.read_bytes().splitlines(keepends=True)
    assert found_in(exported, lines[:2] + lines[3:]).bad.seq == 3


@pytest.mark.parametrize(
    ("old", "new", "damage"),
    [
        (b'"share":0.5', b'"share":0.6', Damage.EVIDENCE_CHANGED),
        (b'"evidence":{"share":0.5}', b'"evidence":null', Damage.EVIDENCE_MISSING),
        (b'"subject":"toxicity@4"', b'"subject":"toxicity@5"', Damage.CHAIN_BROKEN),
        (b'"evidence":{"share":0.5}', b'"proof":{"share":0.5}', Damage.UNREADABLE),
    ],
)
def test_an_edited_line_is_named(exported, old, new, damage):
    content = exported.read_bytes()
    assert content.count(old) == 1
    found = found_in(exported, [content.replace(old, new)])
    assert (found.bad.seq, found.bad.damage) == (4, damage)


def test_lines_behind_the_end_are_named(exported):
    content = exported.read_bytes()
    found = found_in(exported, [content, content])
    assert (found.bad.seq, found.bad.damage) == (7, Damage.UNREADABLE)


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        list(read_export(tmp_path / "nothing.jsonl"))


def test_two_ledgers_with_the_same_entries_export_the_same_bytes(tmp_path, exported):
    again = tmp_path / "again.jsonl"
    write_export(ledger_of(6), again)
    assert again.read_bytes() == exported.read_bytes()
