"""Lets a spoke train a version: its function is given the data, a time, and the folder for the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from streamrec.gates.programs.loading import DATA, named_function

ARTIFACT_FOLDER: Final = "artifact"


def train(arguments: Mapping[str, Any], inputs: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Train.

    Args:
        arguments: ``function``: ``module:function``; ``until``: later data does not count (ISO 8601).
        inputs: ``data``.
        output: Gets the folder `ARTIFACT_FOLDER`.
    """
    folder = output / ARTIFACT_FOLDER
    folder.mkdir()
    named_function(arguments["function"])(inputs[DATA], datetime.fromisoformat(arguments["until"]), folder)
    return {"files": sum(1 for path in folder.rglob("*") if path.is_file())}
