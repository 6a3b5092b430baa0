"""Runs commands one after the other, each as the command line does, in this process; training is brief.

Usage: commands_process.py COMMAND_LINE ...; two more commands are `compile`, and `move FOLDER`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.cli.main import app, main
from services.recommendations.commands import training_options
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, WorkspaceOption

_chosen_settings = training_options.chosen_settings


def _brief_settings(*arguments: Any) -> Any:
    """As chosen, with models so small that some seconds are enough. Imports nothing by itself."""
    settings = _chosen_settings(*arguments)
    optimisation = settings.ranking_teacher.optimisation
    phase = replace(optimisation.pools, maximum_epochs=1)
    return replace(
        settings,
        retrieval=replace(
            settings.retrieval, dimension=16, epoch_count=1, uniform_negative_count=32, hard_negative_count=0
        ),
        ranking_teacher=replace(
            settings.ranking_teacher,
            network=replace(settings.ranking_teacher.network, dimension=16, layer_count=1),
            optimisation=replace(optimisation, pools=phase, joint=phase),
        ),
        cold_start=replace(settings.cold_start, hierarchy_dimensions=1, tune=150, draws=500, chains=2),
    )


@app.command("compile")
def compile_function(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Have PyTensor compile, as training of the cold-start model does."""
    del workspace  # has said where to
    from pytensor.link.c import lazylinker_c

    print("compiled version", lazylinker_c.get_version())


@app.command("move")
def move(to: Path, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Move the workspace and remove what may be removed; later commands find it where it is."""
    workspace.rename(to)
    shutil.rmtree(to / "library_caches", ignore_errors=True)
    shutil.rmtree(to / "registry" / "cache")
    os.environ["STREAMREC_WORKSPACE"] = str(to)


def run(command_lines: Sequence[str]) -> None:
    """Run them; the first that fails ends the process with its status."""
    training_options.chosen_settings = _brief_settings
    for line in command_lines:
        print(f"$ {line}", flush=True)
        sys.argv = ["streamrec", *shlex.split(line)]
        try:
            main()
        except SystemExit as end:
            if end.code not in (None, 0):
                raise


if __name__ == "__main__":
    run(sys.argv[1:])
