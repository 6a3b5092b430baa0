"""The cache between real processes: what one uses no other evicts, and a process may be killed anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from streamrec.registry.manifest import write_manifest

PROGRAM = """
import os, shutil, signal, sys
from pathlib import Path
from streamrec.registry.artifact_cache import ArtifactCache

folder, source, digest, maximum_bytes, doing = sys.argv[1:]
if doing == "die":
    def killed(path, **options):
        if Path(path).name.startswith("evicted-"):
            os.kill(os.getpid(), signal.SIGKILL)
    shutil.rmtree = killed
cache = ArtifactCache(Path(folder), int(maximum_bytes))
for _ in range(20 if doing == "again" else 1):
    path = cache.fetch(digest, lambda target: shutil.copytree(source, target, dirs_exist_ok=True))
    assert (path / "model.json").read_text() == Path(source, "model.json").read_text()
    if doing == "again":
        cache.keep_only(())
print("has it", flush=True)
if doing == "hold":
    sys.stdin.read()
"""


@pytest.fixture
def artifacts(tmp_path):
    found = []
    for number in range(4):
        source = tmp_path / str(number)
        source.mkdir()
        (source / "model.json").write_text(f"[{number}]")
        found.append((source, write_manifest(source)))
    return found


def start(folder, artifact, maximum_bytes, doing):
    source, digest = artifact
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(source), digest, str(maximum_bytes), doing],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(folder, artifact, maximum_bytes, doing="fetch"):
    with start(folder, artifact, maximum_bytes, doing) as process:
        answer, _ = process.communicate(timeout=60)
    return process.returncode, answer


def test_what_a_running_process_uses_stays_until_it_is_killed(tmp_path, artifacts):
    cache = tmp_path / "cache"
    with start(cache, artifacts[0], 10**9, "hold") as holder:
        assert holder.stdout.readline() == "has it\n"
        os.utime(cache / artifacts[0][1], (0, 0))
        assert run(cache, artifacts[1], 1) == (0, "has it\n")
        assert (cache / artifacts[0][1]).is_dir()
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
    assert run(cache, artifacts[2], 1) == (0, "has it\n")
    assert [path.name for path in cache.iterdir()] == [artifacts[2][1]]


def test_a_process_that_is_killed_within_an_eviction_leaves_nothing_wrong(tmp_path, artifacts):
    cache = tmp_path / "cache"
    assert run(cache, artifacts[0], 10**9) == (0, "has it\n")
    status, _ = run(cache, artifacts[1], 1, "die")
    assert status == -signal.SIGKILL
    left = [path for path in cache.iterdir() if path.name.startswith("evicted-")]
    assert len(left) == 1
    assert not (cache / artifacts[0][1]).exists()
    # Everybody works on, and the rest of it goes when it is old.
    os.utime(left[0], (0, 0))
    assert run(cache, artifacts[0], 10**9) == (0, "has it\n")
    assert {path.name for path in cache.iterdir()} == {artifacts[0][1], artifacts[1][1]}


def test_processes_that_evict_each_others_artifacts_always_find_them_whole(tmp_path, artifacts):
    cache = tmp_path / "cache"
    running = [start(cache, artifact, 1, "again") for artifact in artifacts]
    for process in running:
        with process:
            answer, _ = process.communicate(timeout=120)
        assert (process.returncode, answer) == (0, "has it\n")
    assert {path.name for path in cache.iterdir()} <= {digest for _, digest in artifacts}
