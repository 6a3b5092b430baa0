"""What a ledger of a million entries costs: python tests/benchmarks/benchmark_ledger.py [ENTRIES [FOLDER]]

In SQLite; with --postgres in a PostgreSQL server from its wheel, which is made for it and removed.
A folder that is named is kept: a second run goes on with the entries that are there (in SQLite).
The entries are made as a platform would make them over years: for each of 2,000 versions of 50 slots its
gates, verdict, review and traffic, with evidence; the rest are steps of rollouts. Writing them is timed too,
a thousand in one transaction. Then the commands are timed as a person runs them, with the start of Python.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from streamrec.command_line.ledger_parts import (
    LEDGER_VARIABLE,
    anchor_publisher,
    anchor_store,
    open_ledger,
)
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.ledger.anchors import write_anchor
from streamrec.ledger.ledger import MAXIMUM_DECISIONS, Decision, Ledger
from streamrec.ledger.served import TrafficEvidence, traffic_decisions
from streamrec.ledger.sql_ledger import SqlLedger

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.postgres_server import PostgresServer, start_postgres

ENTRIES = 1_000_000
SLOTS = 50
ROLLOUT_STEPS = 5
APPENDS = 200
START = datetime(2020, 1, 1, tzinfo=UTC)
SECONDS_APART = 120


def decisions() -> Iterator[Decision]:
    """Version after version, the slots by turns."""
    for number in count():
        slot, version = f"team{number % SLOTS}.ranking", number // SLOTS + 1
        ref = f"ranker{number % SLOTS}@{version}"
        figures = {f"group.{group}": {"value": group / 7, "n": 1_000 + number} for group in range(8)}
        gates = {"verdict": "passed", "subject": ref, "gates": figures}
        yield Decision("ci", ActorRole.SPOKE, EntryKind.MODEL_REGISTERED, ref)
        yield Decision("ci", ActorRole.PLATFORM, EntryKind.GATES_JUDGED, ref, "asked for", gates)
        yield Decision("ci", ActorRole.PLATFORM, EntryKind.VERDICT_SIGNED, ref, "", {"of": ref})
        yield Decision("lena", ActorRole.REVIEWER, EntryKind.REVIEW_APPROVED, ref, "looked at the groups")
        for step in range(ROLLOUT_STEPS):
            yield Decision("rollouts", ActorRole.PLATFORM, EntryKind.ROLLOUT_ADVANCED, slot, f"step {step}")
        before = {slot: ModelRef(f"ranker{number % SLOTS}", version - 1)} if version > 1 else {}
        after = {slot: ModelRef.parse(ref)}
        change = TrafficEvidence(number + 1, before, after, "promoted")
        yield from traffic_decisions(change, actor="omar", role=ActorRole.PLATFORM, reason="it is better")


def opened(place: Workspace, clock: Callable[[], datetime] | None = None) -> SqlLedger:
    """The ledger without its anchor: what `LEDGER_VARIABLE` names, or the workspace's file."""
    given = {} if clock is None else {"clock": clock}
    url = os.environ.get(LEDGER_VARIABLE)
    return SqlLedger(url, **given) if url else SqlLedger.in_file(place.ledger, **given)


def fill(place: Workspace, entries: int) -> None:
    """Write what is missing of so many entries."""
    times = (START + timedelta(seconds=SECONDS_APART * number) for number in count())
    ledger = opened(place, times.__next__)
    last = ledger.last()
    present = 0 if last is None else last.seq
    source = islice(decisions(), present, None)
    for _ in range(present // MAXIMUM_DECISIONS):
        next(times)
    started = time.perf_counter()
    for written in range(present, entries, MAXIMUM_DECISIONS):
        ledger.append_all(list(islice(source, min(MAXIMUM_DECISIONS, entries - written))))
    took = time.perf_counter() - started
    ledger.close()
    if entries > present:
        each_us = 1e6 * took / (entries - present)
        print(f"{entries - present:,} entries written in {took:.1f} s ({each_us:.0f} us each)")


def seconds_of_an_append(ledger: Ledger) -> float:
    """Seconds of one entry in a transaction of its own, on the disk."""
    started = time.perf_counter()
    for number in range(APPENDS):
        figures = {"verdict": "passed", "number": number}
        ledger.append(Decision("ci", ActorRole.PLATFORM, EntryKind.GATES_JUDGED, "a@1", "", figures))
    return (time.perf_counter() - started) / APPENDS


def timed(*arguments: str) -> tuple[float, str]:
    """Seconds of a command, and its last line."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "services.cli", *arguments], capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"{arguments} ended with {done.returncode}: {done.stderr[-2_000:]}")
    return took, done.stdout.strip().splitlines()[-1]


def size_mib(place: Workspace, server: PostgresServer | None) -> float:
    """What the ledger takes on the disk."""
    if server is None:
        return place.ledger.stat().st_size / 2**20
    base = server.folder / "data" / "base"
    return sum(path.stat().st_size for path in base.rglob("*") if path.is_file()) / 2**20


def main(entries: int, folder: Path, server: PostgresServer | None) -> None:
    """Fill a ledger, and print what each command takes."""
    place = Workspace(folder)
    fill(place, entries)
    ledger = opened(place)
    write_anchor(ledger, anchor_publisher(place, anchor_store(place.ledger_anchor)))
    for name, appended_to in (("alone", ledger), ("with its anchor", open_ledger(place))):
        print(f"one entry {name}: {seconds_of_an_append(appended_to) * 1e3:.1f} ms")
    print(f"{ledger.last().seq:,} entries, {size_mib(place, server):,.0f} MiB")
    ledger.close()
    middle = START + timedelta(seconds=SECONDS_APART * entries / MAXIMUM_DECISIONS / 2)
    export = folder / "export.jsonl"
    export.unlink(missing_ok=True)
    for name, arguments in (
        ("show --slot, now", ("show", "--slot", "team7.ranking")),
        ("show --slot --at, in the middle", ("show", "--slot", "team7.ranking", "--at", middle.isoformat())),
        ("show --last 20", ("show",)),
        ("show --subject", ("show", "--subject", "ranker7@100")),
        ("verify", ("verify",)),
        ("export", ("export", "--output", str(export))),
        ("verify --file", ("verify", "--file", str(export))),
    ):
        took, last_line = timed("ledger", *arguments, "--workspace", str(folder))
        print(f"{name:34} {took:7.2f} s   {last_line[:60]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("entries", nargs="?", type=int, default=ENTRIES)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--postgres", action="store_true", help="In PostgreSQL instead of SQLite.")
    options = parser.parse_args()
    with ExitStack() as stack:
        workspace = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="streamrec-ledger-"))
        )
        running = None
        if options.postgres:
            running = start_postgres()
            stack.callback(running.remove)
            os.environ[LEDGER_VARIABLE] = running.url
        main(options.entries, workspace, running)
