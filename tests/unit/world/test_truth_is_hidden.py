from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import grimp
import pytest

WORLD = "services.recommendations.world"
OPEN_TO_ALL = {
    WORLD,
    f"{WORLD}.catalogue",
    f"{WORLD}.closed_loop",
    f"{WORLD}.environment",
    f"{WORLD}.generate",
    f"{WORLD}.labels",
    f"{WORLD}.policies",
    f"{WORLD}.settings",
    f"{WORLD}.summary",
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "streamrec", cache_dir=None)


def test_nobody_outside_the_world_imports_more_than_its_open_modules():
    outside = [module for module in graph().modules if module != WORLD and not module.startswith(f"{WORLD}.")]
    assert len(outside) > 10
    for module in outside:
        used = {name for name in graph().find_modules_directly_imported_by(module) if name.startswith(WORLD)}
        assert used <= OPEN_TO_ALL, f"{module} imports {used - OPEN_TO_ALL}"


@pytest.mark.parametrize("module", ["policies", "summary", "writer", "seen_filter", "labels", "settings"])
def test_what_decides_and_what_writes_does_not_import_truth(module: str):
    assert f"{WORLD}.truth" not in graph().find_modules_directly_imported_by(f"{WORLD}.{module}")
    assert f"{WORLD}.world" not in graph().find_modules_directly_imported_by(f"{WORLD}.{module}")


def test_the_architecture_contract_that_hides_truth_exists():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    hiding = [
        contract
        for contract in contracts
        if contract["type"] == "forbidden" and f"{WORLD}.truth" in contract["forbidden_modules"]
    ]
    assert hiding
    sources = {module for contract in hiding for module in contract["source_modules"]}
    assert "services.cli" in sources
