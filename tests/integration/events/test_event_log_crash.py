"""The event log under kill -9: real processes, killed while they write and at every step of compaction."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.compaction import compact
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.reader import FileEventReader
from streamrec.events.write_ahead_log import WriteAheadLog

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

WRITER = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.file_event_log import FileEventLog

async def main(root, name):
    log = AsyncEventLog(FileEventLog(root, segment_bytes=20_000))

    async def client(number):
        for count in range(10**9):
            event_id = f"{name}-{number}-{count}"
            now = datetime.now(UTC)
            await log.append([Outcome(event_id, "u", "i", InteractionKind.CLICK, now, now)])
            os.write(1, (event_id + "\\n").encode())

    await asyncio.gather(*(client(number) for number in range(16)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""

# A limit on the size of files is a full disk that needs no disk: the kernel cuts a write short, then refuses.
FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from streamrec.contracts.errors import DependencyError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.write_ahead_log import WriteAheadLog

resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
log = WriteAheadLog(Path(sys.argv[1]))
now = datetime.now(UTC)
refused = 0
for number in range(60):
    try:
        log.append([Outcome(f"e{number}", "u", "i", InteractionKind.CLICK, now, now)])
        print(f"e{number}")
    except DependencyError as error:
        assert "nothing was acknowledged" in str(error)
        refused += 1
assert refused > 10
"""

# Each attempt compacts a fresh copy in a forked child that kills itself before its n-th operation on files.
COMPACTOR = """
import json, os, shutil, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from streamrec.files import durable_files
from streamrec.erasure.event_log import EventLogData
from streamrec.events.compaction import CompactionSettings, compact
from streamrec.events.compacted_state import load_state
from streamrec.events.reader import FileEventReader

original, folder = Path(sys.argv[1]), Path(sys.argv[2])
# The first of March has expired; the parts of later days are merged.
SETTINGS = CompactionSettings(retention=timedelta(days=100))
NOW = datetime(2026, 6, 10, tzinfo=UTC)

def in_child(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def work_and_die(work, root, at):
    calls = 0
    def counted(operation):
        def run(*arguments):
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments)
        return run
    for name in ("fsync_file", "fsync_folder", "rename", "remove", "write_atomically", "make_folder"):
        setattr(durable_files, name, counted(getattr(durable_files, name)))
    work(root)

# A process that is killed loses nothing that it has written: the disk need not be waited for.
os.fsync = lambda descriptor: None

def compacted(root):
    compact(root, SETTINGS, now=NOW)

def erased(root):
    EventLogData(root).remove("gone")

def check(root, *, done):
    expected = json.loads((original / "expected.json").read_text())
    found = [record.event_id for record in FileEventReader(root).records()]
    assert len(found) == len(set(found)), found
    assert set(expected["kept"]) <= set(found) <= set(expected["kept"] + expected["expired"]), found
    assert not done or set(found) == set(expected["kept"]), found

def finish(work, root):
    check(root, done=False)
    work(root)
    check(root, done=True)
    assert not list((root / "segments").iterdir())
    on_disk = {path.relative_to(root).as_posix() for path in (root / "parquet").glob("*/*/*")}
    files = load_state(root).files
    assert on_disk == {file.path for file in files}
    assert work is erased or len({file.date for file in files}) == len(files) == 2
    assert work is compacted or EventLogData(root).find("gone") == []

work = {"compact": compacted, "erase": erased}[sys.argv[3]]
killed = 0
for at in range(1, 1000):
    root = folder / str(at)
    shutil.copytree(original, root)
    status = in_child(lambda: work_and_die(work, root, at))
    assert in_child(lambda: finish(work, root)) == 0, f"after a kill at operation {at}"
    shutil.rmtree(root)
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    killed += 1
print(json.dumps({"killed": killed}))
"""


def outcome(event_id: str, *, day: int = 1, unit: str = "u") -> Outcome:
    moment = NOON.replace(day=day)
    return Outcome(event_id, unit, "i", InteractionKind.CLICK, moment, moment)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_every_acknowledged_event_survives_kill_9(tmp_path: Path):
    acknowledged: set[str] = set()
    for generation in range(3):
        writers = [start(WRITER, tmp_path, f"g{generation}w{number}") for number in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            for _ in range(200):
                acknowledged.add(writer.stdout.readline().strip())
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            assert writer.stdout is not None
            rest = writer.stdout.read()
            writer.stdout.close()
            writer.wait(timeout=20)
            # The last line of output may be cut off; what it acknowledged need not be known.
            acknowledged.update(
                line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")
            )
            assert writer.returncode == -signal.SIGKILL
        if generation == 1:
            compact(tmp_path)

    assert len(acknowledged) >= 1200
    before = FileEventReader(tmp_path).snapshot()
    assert acknowledged <= {record.event_id for record in before.outcomes}
    assert before.quarantined == ()
    report = compact(tmp_path)
    # One a writer, but for a writer that was killed just after it had sealed its segment.
    assert report.recovered_segments <= 2
    assert FileEventReader(tmp_path).snapshot() == before


def test_on_a_full_disk_only_what_was_written_is_acknowledged(tmp_path: Path):
    process = start(FULL_DISK, tmp_path)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    snapshot = FileEventReader(tmp_path).snapshot()
    assert {record.event_id for record in snapshot.outcomes} == set(output.split())
    assert snapshot.quarantined == ()


@pytest.mark.slow
@pytest.mark.parametrize("work_to_do", ["compact", "erase"])
def test_compaction_and_erasure_killed_at_every_step_lose_and_double_nothing(tmp_path: Path, work_to_do: str):
    original = tmp_path / "original"
    work = tmp_path / "work"
    work.mkdir()
    log = WriteAheadLog(original, segment_bytes=1)
    # What is to go, by its age or with its person, lies on the first of March.
    goes = "gone" if work_to_do == "erase" else "u"
    mixed = outcome("x0", day=2, unit=goes)
    log.append([outcome("a0", unit=goes), outcome("a1", day=2), mixed, outcome("a2", day=3)])
    log.close()
    compact(original)
    log = WriteAheadLog(original, segment_bytes=1)
    log.append([outcome("b0", unit=goes), outcome("b1", day=2)])
    log.append([outcome("c0", unit=goes), outcome("c1", day=3)])
    log.close()
    if work_to_do == "erase":
        compact(original)  # what a compaction does with segments is the other case
    expected = {"kept": ["a1", "a2", "b1", "c1"], "expired": ["a0", "b0", "c0"]}
    expected["expired" if work_to_do == "erase" else "kept"].append("x0")
    (original / "expected.json").write_text(json.dumps(expected))

    process = start(COMPACTOR, original, work, work_to_do)
    output, _ = process.communicate(timeout=240)

    assert process.returncode == 0
    assert json.loads(output)["killed"] >= (25 if work_to_do == "compact" else 12)


def test_readers_see_every_event_exactly_once_while_others_write_and_compact(tmp_path: Path):
    log = FileEventLog(tmp_path, segment_bytes=600)
    acknowledged: list[str] = []
    stop = threading.Event()
    problems: list[str] = []

    def write():
        for number in range(400):
            log.append([outcome(f"e{number}")])
            acknowledged.append(f"e{number}")
        stop.set()

    def compact_often():
        while not stop.is_set():
            log.compact()

    def read():
        reader = FileEventReader(tmp_path)
        while not stop.is_set():
            expected = set(acknowledged)
            found = [record.event_id for record in reader.records()]
            if len(found) != len(set(found)):
                problems.append("an event was read twice")
            if expected - set(found):
                problems.append(f"events were missed: {sorted(expected - set(found))[:3]}")

    threads = [threading.Thread(target=target) for target in (write, compact_often, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    log.close()

    assert problems == []
    assert len(FileEventReader(tmp_path).snapshot().outcomes) == 400


@pytest.mark.parametrize("target", ["parquet", "state"])
def test_damage_to_compacted_files_is_an_error_that_names_the_file(tmp_path: Path, target: str):
    log = WriteAheadLog(tmp_path)
    log.append([outcome(f"e{number}") for number in range(100)])
    log.close()
    compact(tmp_path)
    (parquet,) = (tmp_path / "parquet").glob("*/*/*")
    path = parquet if target == "parquet" else tmp_path / "compacted.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=path.name):
        FileEventReader(tmp_path).snapshot()
