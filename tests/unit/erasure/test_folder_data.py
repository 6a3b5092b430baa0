from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DependencyError
from streamrec.erasure import folders
from streamrec.erasure.folders import FolderData


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "ws" / "data" / "set"
    data.mkdir(parents=True)
    users = pa.array(["u1", "u10", "u1", None, "u2"])
    pq.write_table(
        pa.table({"user_id": users, "item_id": list("abcde")}),
        data / "interactions.parquet",
        row_group_size=2,
    )
    pq.write_table(pa.table({"user_id": users.dictionary_encode()}), data / "users.parquet")
    pq.write_table(pa.table({"item_id": ["u1"]}), data / "items.parquet")
    raw = ["u1,a,5", "u10,a,5", "u2::u1::3", '{"user_id":"u1"}', "a,u1-b,5", "a\tu1\t5", None]
    pq.write_table(pa.table({"raw": raw}), data / "quarantine.parquet")
    (tmp_path / "ws" / "notes.json").write_text('{"subject": "u1", "x": {"user_id":"u10"}}')
    (tmp_path / "ws" / "events").mkdir()
    pq.write_table(pa.table({"unit": ["u1"]}), tmp_path / "ws" / "events" / "part.parquet")
    return tmp_path / "ws"


def test_rows_about_the_person_go_and_no_others(folder):
    data = FolderData("files", folder, without=[folder / "events"])
    before = pq.read_schema(folder / "data" / "set" / "users.parquet")

    assert {trace.place: trace.records for trace in data.find("u1")} == {
        "ws/data/set/interactions.parquet": 2,
        "ws/data/set/users.parquet": 2,
        "ws/data/set/quarantine.parquet": 4,
        "ws/notes.json": 1,
    }
    assert data.remove("u1") == 8
    # What nobody here knows how to write is found and named.
    assert [trace.place for trace in data.find("u1")] == ["ws/notes.json"]

    left = pq.read_table(folder / "data" / "set" / "interactions.parquet")
    assert left["item_id"].to_pylist() == ["b", "d", "e"]
    assert pq.read_table(folder / "data" / "set" / "quarantine.parquet")["raw"].to_pylist() == [
        "u10,a,5",
        "a,u1-b,5",
        None,
    ]
    assert pq.read_schema(folder / "data" / "set" / "users.parquet").equals(before)
    assert pq.read_table(folder / "events" / "part.parquet").num_rows == 1
    assert not list(folder.rglob("*.erasing"))


def test_what_a_killed_run_left_goes(folder):
    leftover = folder / "data" / "set" / "users.parquet.erasing"
    leftover.write_bytes(b"half a table")
    FolderData("files", folder).remove("nobody")
    assert not leftover.exists()


def test_a_mention_across_two_pieces_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_TEXT_PIECE_CHARACTERS", 64)
    (tmp_path / "log.jsonl").write_text('{"user_id": "somebody"}\n' * 7 + '{"unit":"x"}\n')
    (trace,) = FolderData("files", tmp_path).find("somebody")
    assert trace.records == 7


def test_a_table_that_cannot_be_read_is_an_error_and_not_nothing(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"not a table")
    with pytest.raises(DependencyError, match=r"broken\.parquet"):
        FolderData("files", tmp_path).find("u1")
