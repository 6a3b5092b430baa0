"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# What tests train is too small for a second thread, and two that wait for each other on a busy machine take
# many times as long. Set before anything imports OpenMP; the processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell without job control starts what runs in its background deaf to Ctrl-C, and so would be all that
# tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; the test skips where there is none."""
    folder = Path(os.environ.get("STREAMREC_DATA", REPOSITORY_ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set STREAMREC_DATA to the folder that holds movielens-small")
    return folder


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch computes in two threads, as it does on a user's machine, and in one again afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
