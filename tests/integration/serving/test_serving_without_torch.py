"""What serves needs no library that only training needs, so that a serving image stays small."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

TRAINING_ONLY = ("torch", "triton", "matplotlib", "pymc", "pytensor", "arviz")

SERVING_ROOMS = (
    "platform/streamrec/contracts",
    "platform/streamrec/documents",
    "platform/streamrec/events",
    "platform/streamrec/features",
    "platform/streamrec/files",
    "platform/streamrec/monitoring",
    "platform/streamrec/registry",
    "platform/streamrec/serving",
    "services/recommendations/contracts",
    "services/recommendations/exposure_control",
    "services/recommendations/gateway",
    "services/recommendations/item_index",
    "services/recommendations/pipeline",
    "services/recommendations/serving",
)
"""Every module in these is imported by a replica, or may be."""

SERVING_MODULES = (
    "services.recommendations.cold_start.model",
    "services.recommendations.commands.serve",
    "services.recommendations.ranking.student.model",
    "services.recommendations.reranking.live_prices",
    "services.recommendations.reranking.model",
    "services.recommendations.retrieval.model",
)
"""What a replica imports of the rooms that also train."""

IMPORT_WITHOUT = """
import importlib, importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is for training")

sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name)
print(len({modules!r}))
"""


def modules_of(room: str) -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        .removeprefix("platform.")
        .removesuffix(".__init__")
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


def import_all(modules: list[str], blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = IMPORT_WITHOUT.format(blocked=blocked, modules=modules)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_serving_module_imports_without_what_only_training_needs() -> None:
    modules = [name for room in SERVING_ROOMS for name in modules_of(room)] + list(SERVING_MODULES)
    assert [room for room in SERVING_ROOMS if not modules_of(room)] == []
    assert len(modules) > 80
    run = import_all(modules, TRAINING_ONLY)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == str(len(modules))


def test_a_training_module_does_not_pass_for_a_serving_one() -> None:
    run = import_all(["services.recommendations.ranking.train"], TRAINING_ONLY)
    assert run.returncode != 0
    assert "is for training" in run.stderr


@pytest.mark.parametrize("package", TRAINING_ONLY)
def test_the_serving_extra_does_not_ask_for_it(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = [*project["dependencies"], *project["optional-dependencies"]["serving"]]
    assert not [requirement for requirement in asked_for if requirement.startswith(package)]
