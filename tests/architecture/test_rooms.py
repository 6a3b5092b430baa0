"""The rooms of the recommendations spoke: which there are, what lies in them, and who may look into whom."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPOKE = ROOT / "services" / "recommendations"
FOLDERS = sorted(
    {path.parent for top in ("platform/streamrec", "services") for path in (ROOT / top).rglob("*.py")}
)

MAXIMUM_MODULES = 18
"""Modules in one folder: past that, nobody finds a thing by looking through the list."""

ROOMS = {
    "contracts": {"candidates", "stages"},
    "training": {"input", "checks", "histories", "content_features"},
    "item_index": {"index", "settings", "tuning", "tuning_report"},
    "pipeline": {"pipeline", "stage_calls", "hand_over", "offline", "local_models"},
    "retrieval": {"model", "train"},
    "ranking": {"model", "train"},
    "cold_start": {"model", "train"},
    "reranking": {"model", "train"},
    "exposure_control": {"controller", "step"},
    "world": {"world", "generate", "environment"},
    "gateway": {"app", "event_intake", "user_states"},
    "serving": {
        "application",
        "stage_deployments",
        "stage_replicas",
        "stages_in_process",
        "versioned_stages",
        "gateway_deployment",
        "ray_stages",
        "stage_replica",
        "model_source",
        "local_cluster",
    },
    "evaluation": {
        "acceptance",
        "plots",
        "request_sample",
        "exposure_frontier",
        "closed_loop_arms",
        "closed_loop_policy",
    },
    "judging": {"requests", "predictors", "state_columns", "stage_specifications"},
    "jobs": {"training", "evaluation", "closed_loop", "index_tuning", "model_cards"},
    "load_tests": {
        "bench",
        "generator",
        "made_models",
        "made_world",
        "results",
        "schedule",
        "systems",
        "workspace",
    },
    "commands": {"train", "evaluate", "serve"},
}
"""Every room, and the modules that a newcomer is told to find there (docs/architecture.md)."""


def modules_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a module looks into, also inside a function or for its types alone."""
    package = f"services.{SPOKE.name}."
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix(package).split(".")[0] for name in names if name.startswith(package)}


def test_every_room_of_the_spoke_is_in_the_table_and_no_module_lies_outside_a_room() -> None:
    assert {path.parent.name for path in SPOKE.glob("*/__init__.py")} == set(ROOMS)
    assert modules_in(SPOKE) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_holds_what_the_table_says(room: str) -> None:
    assert ROOMS[room] - modules_in(SPOKE / room) == set()


def test_there_is_no_circle_between_rooms() -> None:
    looks_into: dict[str, set[str]] = defaultdict(set)
    for path in SPOKE.rglob("*.py"):
        room = path.relative_to(SPOKE).parts[0]
        looks_into[room] |= rooms_imported(path) - {room}
    assert sum(map(len, looks_into.values())) > 40  # the test sees the imports
    graphlib.TopologicalSorter(looks_into).prepare()  # raises CycleError


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_folder_holds_more_modules_than_can_be_looked_through(folder: Path) -> None:
    assert len(modules_in(folder)) <= MAXIMUM_MODULES
