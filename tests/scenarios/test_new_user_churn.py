"""The churn target of new users at full size: 20,000 in every arm, the default world, seeds not tuned on.

Half an hour on one core and seed; `tests/simulation/test_new_user_churn.py` is the short form. The table of
the arms stays in var/scenarios.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from services.recommendations.commands.closed_loop_table import closed_loop_table
from services.recommendations.evaluation.closed_loop_arms import BEST_KNOWN, GREEDY, OLD, PIPELINE
from services.recommendations.jobs.closed_loop import measure_closed_loop
from services.recommendations.jobs.training import TrainingSettings
from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.registry.memory_registry import MemoryModelRegistry

NEW_USERS = 20_000
TARGET_CHURN = 0.35
TABLES = Path(__file__).parents[2] / "var" / "scenarios"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200)]


@pytest.mark.parametrize("seed", [101, 102])
def test_seven_day_churn_of_new_users_reaches_the_target(seed: int, tmp_path: Path):
    world = WorldSettings(seed=seed)
    generate_world(world, tmp_path / "data", SilentProgress())
    arms = measure_closed_loop(
        world,
        load_dataset(tmp_path / "data"),
        MemoryModelRegistry(tmp_path / "registry"),
        tmp_path / "training",
        users=NEW_USERS,
        seed=3,
        progress=SilentProgress(),
        names=[OLD, GREEDY, PIPELINE, BEST_KNOWN],
        settings=TrainingSettings.quick(),
    )
    TABLES.mkdir(parents=True, exist_ok=True)
    with (TABLES / f"new_user_churn_seed_{seed}.txt").open("w", encoding="utf-8") as file:
        Console(file=file, width=180).print(closed_loop_table(arms, seed, NEW_USERS))
    served, old = arms[PIPELINE].summary.seven_day_churn, arms[OLD].summary.seven_day_churn
    assert served is not None
    assert old is not None
    assert served.n == NEW_USERS
    assert old.low > 0.38
    assert served.high <= TARGET_CHURN
    # What exploration costs is bounded, and there is more to gain.
    assert arms[PIPELINE].regret_per_page[GREEDY].high < 0.05
    assert arms[PIPELINE].regret_per_page[BEST_KNOWN].low > 0.0
