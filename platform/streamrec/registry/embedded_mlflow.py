"""The registry of a workspace: where its SQLite file and its artifacts lie, in MLflow's words.

Nothing in it names the folder that it lies in: a workspace can be moved, and any name of a folder works.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from streamrec.contracts.errors import ArtifactError, DependencyError
from streamrec.contracts.models import ModelRef

SQLITE_PREFIX: Final = "sqlite:///"
ARTIFACT_PATH: Final = "model"
"""An artifact's folder within its run."""

ARTIFACT_SCHEME: Final = "mlflow-artifacts:/"
"""MLflow's name for "below the artifact folder, wherever that is": a workspace that holds it can be moved."""

_SQLITE_TIMEOUT_S: Final = 2.0
_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")


def artifact_folder(root: Path, run_id: str, ref: ModelRef) -> Path:
    """Where a run's artifact lies below ``root``: by the run, not by the path that was true at registration.

    Raises:
        ArtifactError: The version belongs to no run, or its folder is not there.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ArtifactError(f"{ref} was not registered through the platform: it belongs to no run")
    folder = root / run_id / "artifacts" / ARTIFACT_PATH
    if not folder.is_dir():
        raise ArtifactError(f"the artifact of {ref} is not in {folder}")
    return folder


def mlflow_uri(uri: str) -> str:
    """Quote the path of a SQLite file, so that any name of a folder works.

    The driver is named because MLflow makes the folder of a URI without one, by its quoted name.
    """
    if not uri.startswith(SQLITE_PREFIX):
        return uri
    return f"sqlite+pysqlite:///{quote(uri.removeprefix(SQLITE_PREFIX))}"


def check_sqlite(path: Path) -> None:
    """Open the file once: MLflow would retry for minutes where it cannot be opened.

    Raises:
        DependencyError: It cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_SQLITE_TIMEOUT_S)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise DependencyError(f"the model registry's database {path} cannot be opened: {error}") from error
