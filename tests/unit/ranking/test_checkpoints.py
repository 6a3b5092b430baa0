from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from services.recommendations.ranking.checkpoints import CHECKPOINT_FILE, Checkpoint, Checkpoints


def checkpoint(value: float = 1.0) -> Checkpoint:
    rng = np.random.default_rng(3)
    return Checkpoint(
        {"epoch": 2, "numpy_rng": rng.bit_generator.state}, {"network.a": torch.full((3,), value)}
    )


def test_what_is_saved_is_loaded(tmp_path: Path):
    written = checkpoint()
    Checkpoints(tmp_path / "run", "one").save(written)
    loaded = Checkpoints(tmp_path / "run", "one").load()
    assert loaded is not None
    assert loaded.state == written.state
    assert torch.equal(loaded.tensors["network.a"], written.tensors["network.a"])


def test_the_newest_checkpoint_replaces_the_one_before(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, "one")
    checkpoints.save(checkpoint(1.0))
    checkpoints.save(checkpoint(2.0))
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded.tensors["network.a"].tolist() == [2.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_there_is_none_before_the_first(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run", "one")
    assert checkpoints.load() is None
    assert checkpoints.refused == ""


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path):
    Checkpoints(tmp_path, "one").save(checkpoint())
    other = Checkpoints(tmp_path, "two")
    assert other.load() is None
    assert "another run" in other.refused


@pytest.mark.parametrize("place", [0, 4, 40, 200, -1])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, place: int):
    Checkpoints(tmp_path, "one").save(checkpoint())
    path = tmp_path / CHECKPOINT_FILE
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    checkpoints = Checkpoints(tmp_path, "one")
    assert checkpoints.load() is None
    assert checkpoints.refused


def test_a_cut_checkpoint_is_refused(tmp_path: Path):
    Checkpoints(tmp_path, "one").save(checkpoint())
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-5])
    checkpoints = Checkpoints(tmp_path, "one")
    assert checkpoints.load() is None
    assert str(path) in checkpoints.refused


def test_a_partial_file_of_a_killed_run_is_ignored_and_cleared(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run", "one")
    checkpoints.save(checkpoint())
    (tmp_path / "run" / CHECKPOINT_FILE).with_suffix(".partial").write_bytes(b"half")
    assert checkpoints.load() is not None
    checkpoints.clear()
    assert not (tmp_path / "run").exists()
