"""The full-size world is made in minutes on a small machine.

Processor time of this process, so that what else the machine does is not counted.
"""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import SilentProgress

pytestmark = pytest.mark.slow


def test_200_000_items_and_50_000_users_take_less_than_two_minutes(tmp_path: Path):
    started = time.process_time()
    summary = generate_world(WorldSettings(users=50_000, items=200_000, seed=1), tmp_path, SilentProgress())
    cpu_s = time.process_time() - started
    assert pq.read_metadata(tmp_path / "items.parquet").num_rows == 200_000
    assert pq.read_metadata(tmp_path / "interactions.parquet").num_rows == summary.interactions > 1_000_000
    assert cpu_s < 120
