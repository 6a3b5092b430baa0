"""A full disk blocks promotion, never serving: the workspace lies on a disk that really is full."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ON_A_SMALL_DISK = """
import json, os, subprocess, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamrec.command_line import composition
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import TemporaryError
from streamrec.contracts.models import ModelSpec
from streamrec.ledger.served import served
from streamrec.ledger.verification import verify
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.signed_versions import SignedVersions
from streamrec.rollout.heartbeats import MemoryHeartbeats
from streamrec.rollout.traffic_writer import TrafficWriter
from streamrec.serving.loaded_versions import LoadedVersions
from streamrec.serving.replica import ModelReplica
from tests.promoted import deploy, desk_of
from tests.unit.rollout.test_traffic_writer import SIGNATURE

disk, elsewhere = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], check=True)
registry = MemoryModelRegistry(elsewhere / "cache")
(elsewhere / "artifact").mkdir()
refs = []
for number in (1, 2):
    (elsewhere / "artifact" / "model.json").write_text(json.dumps(number))
    spec = ModelSpec("ranking", SIGNATURE, "d", "s", slot="shop.ranking")
    refs.append(registry.register(spec, elsewhere / "artifact").ref)
first, second = refs
place = Workspace(disk)
files, ledger = composition.traffic_files(place), composition.open_ledger(place)
deploy(desk_of(disk, registry, ledger), refs)
heartbeats = MemoryHeartbeats()
follow = lambda _: replica.follow()
writer = TrafficWriter(files, place.keys, registry, ledger, heartbeats=heartbeats, sleep=follow)
versions = SignedVersions(files.versions, files.public_keys)

class Source:
    get, fetch, keep_only = staticmethod(versions.get), registry.fetch, registry.keep_only

def started(heard=None):
    models = LoadedVersions(Source(), lambda found: found.version.ref, warm_up=lambda _: None)
    new = ModelReplica("shop.ranking", "ranking", models, files.open_follower(), heard or MemoryHeartbeats())
    new.follow()
    return new

def told():
    return served(ledger, "shop.ranking", datetime.now(UTC) + timedelta(days=1)).version

writer.promote([first], actor="ada")
replica = started(heartbeats)
refused = 0
for left in (*range(0, 80_000, 8_192), 1_000_000):
    free = os.statvfs(disk)
    space = max(0, free.f_bavail * free.f_frsize - left)
    (disk / "other").write_bytes(bytes(space))
    try:
        writer.promote([second], actor="ada", timeout_s=0.5)
    except TemporaryError as error:
        refused += 1
        print(left, error)
        champion = first
    else:
        champion = second
    replica.follow()
    # It answers, and one that starts now on the full disk does: by what was promoted, and by nothing else.
    assert replica.champion == champion and replica.get(champion).model == champion, (left, champion)
    assert started().champion == champion
    (disk / "other").unlink()
    if champion == second:
        writer.roll_back("shop.ranking", actor="ada")
    else:
        writer.promote([first], actor="ada")  # serves already; the ledger may have been told otherwise
    replica.follow()
    assert told() == first
assert refused >= 3, refused
assert champion == second, "with room enough it is promoted"
assert verify(ledger.stored()).bad is None
"""


def test_a_full_disk_blocks_promotion_and_never_serving(tmp_path):
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own (unshare), which is not allowed here")
    (tmp_path / "disk").mkdir()
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [*apart, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path / "disk"), str(tmp_path / "elsewhere")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what served before serves" in done.stdout
