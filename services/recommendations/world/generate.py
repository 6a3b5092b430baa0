"""From settings to a data folder: the observable part of the simulated StreamRec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from services.recommendations.world.closed_loop import run_window
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.summary import RunSummary
from services.recommendations.world.world import build_world
from services.recommendations.world.writer import SUMMARY_FILE, write_world
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.contracts.progress import Progress

FORMAT_VERSION: Final = 1


def generate_world(settings: WorldSettings, folder: Path, progress: Progress) -> RunSummary:
    """Simulate the window under the old policy and write it to ``folder`` in the neutral format.

    The same settings give the same bytes. What is written is what the company could have logged: catalogue,
    users with their segments, interactions, and the measures of the run in ``world.json``.

    Raises:
        DataFolderError: The folder cannot be written.
    """
    world = build_world(settings)
    run, summary = run_window(world, progress)
    description = {
        "format_version": FORMAT_VERSION,
        "settings": {
            "users": settings.users,
            "items": settings.items,
            "seed": settings.seed,
            "days": settings.days,
        },
        "policy": "most popular until five interactions, then relevance order",
        "summary": summary.as_json(),
    }
    write_world(folder, world.catalogue, world.users, run, description)
    return summary


def read_settings(folder: Path) -> WorldSettings:
    """Read from ``world.json`` which world a folder holds.

    Raises:
        DataFolderError: The file is missing or damaged: the folder does not come from a simulated world.
    """
    path = folder / SUMMARY_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["settings"]
        return WorldSettings(
            users=stored["users"], items=stored["items"], seed=stored["seed"], days=stored["days"]
        )
    except (OSError, ValueError, KeyError, TypeError, InvalidInputError) as error:
        raise DataFolderError(
            path,
            None,
            f"does not say which world this is ({error!r}); "
            "make one with 'streamrec recommendations world generate'",
        ) from error
