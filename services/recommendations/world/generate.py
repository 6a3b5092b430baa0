"""From settings to a data folder: the simulated StreamRec as everybody else sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.recommendations.world.closed_loop import run_window
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.summary import RunSummary
from services.recommendations.world.world import build_world
from services.recommendations.world.writer import write_world
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
