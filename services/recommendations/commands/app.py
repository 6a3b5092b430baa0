"""`streamrec recommendations`: the commands of this spoke, as the hub mounts them.

pyproject.toml declares ``commands`` as an entry point of the group `streamrec.spokes`.
"""

from __future__ import annotations

import typer

from services.recommendations.commands import (
    bench,
    evaluate,
    exposure,
    hand_over,
    index,
    propensities,
    serve,
    train,
    world,
)

commands = typer.Typer(
    help="Recommendations: train, evaluate and serve their models; the simulated StreamRec.",
    no_args_is_help=True,
)
commands.command("train")(train.train)
commands.command("evaluate")(evaluate.evaluate)
commands.command("hand-over")(hand_over.hand_over)
commands.command("propensities")(propensities.propensities)
commands.command("serve")(serve.serve)
commands.command("bench")(bench.bench)
commands.add_typer(index.app, name="index")
commands.add_typer(exposure.app, name="exposure")
commands.add_typer(world.app, name="world")
