"""Rules of the house that import-linter cannot express."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for top in ("platform", "services", "feature_repo") for path in (ROOT / top).rglob("*.py")
)

MAXIMUM_LINES = 420
"""About 400: past that, a module is split."""

VENDOR_HOMES = {
    "alembic": {
        "platform/streamrec/ledger/migrations",
        "platform/streamrec/ledger/sql_schema.py",
    },
    "cryptography": {"platform/streamrec/documents/signing.py"},
    "mlflow": {"platform/streamrec/registry/mlflow_registry.py"},
    "feast": {
        "platform/streamrec/features/feast_import.py",
        "platform/streamrec/features/feast_repository.py",
        "platform/streamrec/features/feast_store.py",
        "feature_repo",
    },
    "evidently": {"platform/streamrec/monitoring/evidently_reports.py"},
    "fairlearn": {"platform/streamrec/gates/fairness/fairlearn_rates.py"},
    "faiss": {
        "platform/streamrec/registry/file_formats/checker_program.py",  # in its own process
        "services/recommendations/item_index/index.py",
    },
    "filelock": {"platform/streamrec/files/locks.py"},
    "fcntl": {"platform/streamrec/files/locks.py"},  # shared locks alone; the others are filelock's
    "onnx": {"platform/streamrec/registry/file_formats/checker_program.py"},
    "pymc": {"services/recommendations/cold_start/pymc_fit.py"},
    "prometheus_client": {
        "platform/streamrec/monitoring/caller_metrics.py",
        "platform/streamrec/monitoring/model_metrics.py",
        "services/recommendations/gateway/metrics.py",
        "platform/streamrec/features/feast_import.py",  # undoes what importing Feast does to it
    },
    "ray": {"services/recommendations/serving"},
    "sqlalchemy": {
        "platform/streamrec/ledger/sql_connections.py",
        "platform/streamrec/ledger/sql_ledger.py",
        "platform/streamrec/ledger/sql_schema.py",
        "platform/streamrec/ledger/sql_tables.py",
        "platform/streamrec/registry/mlflow_registry.py",  # an error that MLflow passes on
    },
    "rfc8785": {"platform/streamrec/contracts/canonical_json.py"},
}
"""The only modules that may import a vendor, at module level or inside a function."""


@cache
def imported_packages(path: Path) -> set[str]:
    packages: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


def test_platform_is_a_folder_and_not_a_package() -> None:
    # A package called `platform` would shadow the standard library's module of that name.
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAXIMUM_LINES


@pytest.mark.parametrize("vendor", VENDOR_HOMES)
def test_each_vendor_lives_in_its_adapter(vendor: str) -> None:
    importers = [path.relative_to(ROOT) for path in SOURCES if vendor in imported_packages(path)]
    homes = {Path(home) for home in VENDOR_HOMES[vendor]}
    strays = [str(path) for path in importers if homes.isdisjoint((path, *path.parents))]
    assert strays == []


def test_every_package_says_what_may_not_go_in() -> None:
    packages = [
        path
        for path in SOURCES
        if path.name == "__init__.py" and path.parent.parent.name in ("streamrec", "recommendations")
    ]
    silent = [
        str(path.relative_to(ROOT))
        for path in packages
        if not re.search(r"may not|nothing but", (docstring(path) or "").lower())
    ]
    assert silent == []


def docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))
