"""A training process that is killed goes on from its checkpoint, in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors import safe_open

from streamrec.training.ranking_metrics import LIST_LENGTH

REPOSITORY_ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).parent / "train_ranker_process.py"
DEADLINE_SECONDS = 120.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY_ROOT / 'platform'}:{REPOSITORY_ROOT}"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)], env=environment, stdout=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> dict[str, float]:
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    figures: dict[str, float] = json.loads(output)
    return figures


def epochs_of(checkpoint: Path) -> list[dict[str, float]]:
    """The learning curve so far, with the time that each epoch took."""
    with safe_open(checkpoint, framework="np") as file:
        curve: list[dict[str, float]] = json.loads(file.metadata()["state"])["curve"]
    return curve


def epochs(folder: Path) -> list[tuple[str, int, float]]:
    curve = json.loads((folder / "ranker" / "learning_curve.json").read_text())
    return [(point["phase"], point["epoch"], point["loss"]) for point in curve]


def test_a_training_killed_after_an_epoch_goes_on_from_it(tmp_path: Path):
    expected = finish(start(tmp_path / "whole"))
    assert f"test_recall_at_{LIST_LENGTH}" in expected

    killed = tmp_path / "killed"
    process = start(killed)
    checkpoint = killed / "checkpoints" / "checkpoint.safetensors"
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not checkpoint.is_file():
        assert process.poll() is None, "the training ended before it had written a checkpoint"
        assert time.monotonic() < ends_at
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "ranker").exists()
    before_the_kill = epochs_of(checkpoint)
    assert before_the_kill

    assert finish(start(killed)) == expected
    assert epochs(killed) == epochs(tmp_path / "whole")
    # The times are those of the process that was killed: these epochs were not trained again.
    after = json.loads((killed / "ranker" / "learning_curve.json").read_text())
    assert after[: len(before_the_kill)] == before_the_kill
    assert not checkpoint.exists()
