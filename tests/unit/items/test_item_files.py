"""Items in files that people make."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.items import Item
from streamrec.items import item_files
from streamrec.items.item_files import read_items

WHOLE = Item("i-1", "Dune, Part 2", "c-1", "en", ("Drama", "Space"), datetime(2024, 2, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "items.csv",
            "item_id,title,creator_id,creator_language,topics,published_at\r\n"
            'i-1,"Dune, Part 2",c-1,en,Drama| Space|,2024-02-01T01:00:00+01:00\r\n\r\ni-2,,,,,\r\n',
        ),
        (
            "items.jsonl",
            '{"item_id":"i-1","title":"Dune, Part 2","creator_id":"c-1","creator_language":"en",'
            '"topics":["Drama","Space"],"published_at":"2024-02-01T00:00:00Z"}\n\n{"item_id":"i-2"}',
        ),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_and_json_lines_say_the_same(tmp_path, name, content, mark):
    path = tmp_path / name
    path.write_bytes(mark + content.encode())
    read = read_items(path)
    assert read.items == (WHOLE, Item("i-2"))
    assert read.refused == ()


@pytest.mark.parametrize(
    "moment", ['"2026"', '"1700000000"', "1700000000", '"2026-01-31"', '"today"', "true"]
)
def test_a_time_is_iso_8601_with_an_offset_and_never_a_number(tmp_path, moment):
    path = tmp_path / "items.jsonl"
    path.write_text(f'{{"item_id":"a","published_at":{moment}}}')
    assert [row.field for row in read_items(path).refused] == ["published_at"]


def test_rows_that_are_no_items_are_named_by_line_and_field(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id":"a"}\n{"title":"x"}\n[1]\n{"item_id":"b","colour":"red"}\n{"item_id":3}\n')
    read = read_items(path)
    assert [item.item_id for item in read.items] == ["a"]
    assert [(row.line, row.field) for row in read.refused] == [
        (2, "item_id"),
        (3, "document"),
        (4, "colour"),
        (5, "item_id"),
    ]
    path = tmp_path / "items.csv"
    path.write_text("item_id,topics\na,x|x\nb\n,y\nc,z\n")
    read = read_items(path)
    assert [item.item_id for item in read.items] == ["c"]
    assert [row.line for row in read.refused] == [2, 3, 4]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("items.txt", b"", "must end in"),
        ("items.csv", b"", "item_id"),
        ("items.csv", b"id,title\n1,x\n", "item_id"),
        ("items.csv", b"item_id,colour\n1,red\n", "'colour': is no column"),
        ("items.csv", b"item_id,item_id\n1,1\n", "a repeated name"),
        ("items.csv", b'item_id,title\n1,"x\n', "is not CSV"),
        ("items.jsonl", b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=problem):
        read_items(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_items(tmp_path / f"missing-{name.replace('txt', 'csv')}")


def test_a_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(item_files, "MAXIMUM_BATCH", 3)
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id":"a"}\n' * 4)
    with pytest.raises(InvalidInputError, match="more than 3 items"):
        read_items(path)
