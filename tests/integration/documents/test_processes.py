"""Real processes that make keys, publish and are killed at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.key_folder import KeyFolder
from streamrec.documents.publisher import DocumentPublisher
from streamrec.documents.signed_form import verify

ROOT = Path(__file__).resolve().parents[3]

AGREEING = """
import sys, time
from pathlib import Path
from streamrec.documents.key_folder import KeyFolder

folder = Path(sys.argv[1])
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
print(KeyFolder(folder / "keys").signing_key().key_id)
"""

RACING = """
import json, sys, time
from pathlib import Path
from streamrec.contracts.errors import ConflictError
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.key_folder import KeyFolder
from streamrec.documents.publisher import DocumentPublisher

folder, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
kind = DocumentKind("streamrec.example.v1", lambda document: document["wins"])
publisher = DocumentPublisher(
    FileDocumentStore(folder / "document.json"), kind, KeyFolder(folder / "keys"), clock=lambda: 0.0
)
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
won = []
while True:
    published = publisher.published()
    revision, wins = (published.revision, published.value) if published else (0, [])
    if revision >= rounds:
        break
    try:
        document = publisher.publish({"wins": [*wins, name]}, expected_revision=revision)
    except ConflictError:
        continue
    won.append(document.revision)
print(json.dumps(won))
"""

HOLDING = """
import sys, time
from pathlib import Path
from streamrec.files.locks import only_writer_of

with only_writer_of(Path(sys.argv[1]) / "document.json"):
    print("ready", flush=True)
    time.sleep(600)
"""


def start(script, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def outputs(folder, processes):
    """Let them go, all at once, and return what they print."""
    (folder / "go").touch()
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    found = outputs(tmp_path, [start(AGREEING, tmp_path) for _ in range(4)])
    keys = KeyFolder(tmp_path / "keys")
    assert {key_id.strip() for key_id in found} == {keys.signing_key().key_id}
    assert len(keys.trusted().keys) == 1


def test_processes_that_publish_at_once_win_each_revision_once_and_lose_nothing(tmp_path):
    rounds, names = 120, ("a", "b", "c")
    printed = outputs(tmp_path, [start(RACING, tmp_path, name, rounds) for name in names])
    won = dict(zip(names, map(json.loads, printed), strict=True))
    winner_of = {revision: name for name, revisions in won.items() for revision in revisions}
    assert sorted(revision for revisions in won.values() for revision in revisions) == list(
        range(1, rounds + 1)
    ), "every revision has exactly one winner"
    content = (tmp_path / "document.json").read_bytes()
    document = verify(content, KeyFolder(tmp_path / "keys").trusted(), "streamrec.example.v1", 65_536)
    assert document["wins"] == [winner_of[revision] for revision in sorted(winner_of)], "nothing is lost"


def test_a_publisher_that_is_killed_while_it_holds_the_lock_stops_nobody(tmp_path):
    process = start(HOLDING, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    publisher = DocumentPublisher(
        FileDocumentStore(tmp_path / "document.json"),
        DocumentKind("streamrec.example.v1", dict),
        KeyFolder(tmp_path / "keys"),
    )
    assert publisher.publish({"text": "next"}, expected_revision=0).value["text"] == "next"
