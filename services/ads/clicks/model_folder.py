"""A model's folder, as `streamrec models register` takes it: trained on simulated clicks.

python -m services.ads.clicks.model_folder FOLDER
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from services.ads.clicks.simulated_clicks import DAYS, FIRST_DAY, simulated_clicks
from services.ads.clicks.training import SHOWN_FILE, train
from streamrec.contracts.errors import InvalidInputError

VALIDATION_FROM: Final = FIRST_DAY + timedelta(days=DAYS - 10)
"""The last ten days are what a version is judged on."""

_EVALUATION_FILE: Final = "evaluation.parquet"
_SPECIFICATION: Final = Path(__file__).with_name("model.yaml")


def write_model_folder(folder: Path, *, seed: int) -> None:
    """Train on the first twenty days; write `model.yaml`, the artifact, and what it is to be judged on.

    Args:
        folder: Must be new or empty.
        seed: Of the simulated clicks.

    Raises:
        InvalidInputError: There is something in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInputError("folder", f"{folder} must be new or empty")
    shown = simulated_clicks(np.random.default_rng(seed))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="streamrec-ads-") as data:
        shown.to_parquet(Path(data) / SHOWN_FILE, index=False)
        train(Path(data), VALIDATION_FROM, folder / "artifact")
    split = np.where(shown["at"] < VALIDATION_FROM, "train", "validation")
    shown.assign(split=split).to_parquet(folder / _EVALUATION_FILE, index=False)
    shutil.copyfile(_SPECIFICATION, folder / _SPECIFICATION.name)


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", file_okay=False, help="New or empty.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulated clicks.")] = 0,
) -> None:
    """Write a model's folder: model.yaml, a trained artifact, and the data that it is judged on."""
    write_model_folder(folder, seed=seed)
    typer.echo(
        f"{folder} holds model.yaml, the artifact and {_EVALUATION_FILE}: streamrec models check {folder}"
    )


if __name__ == "__main__":
    typer.run(main)
