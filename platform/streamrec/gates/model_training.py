"""Training a version as its specification says: the spoke's function, isolated and limited."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import InvalidInputError, PermanentError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.operating_policy import MEBIBYTE
from streamrec.gates.programs.loading import DATA
from streamrec.gates.programs.train import ARTIFACT_FOLDER
from streamrec.gates.runner import GateRunner, GateTask, GateTaskResult, SandboxLimits

TRAIN: Final = "streamrec.gates.programs.train:train"
_SECONDS_PER_MINUTE: Final = 60
_SHOWN_LOG_CHARACTERS: Final = 1_000


def train_version(
    specification: ModelSpecification,
    data: Path,
    until: datetime,
    artifact: Path,
    runner: GateRunner,
    *,
    import_paths: tuple[Path, ...] = (),
) -> GateTaskResult:
    """Train, and put the artifact where it belongs once it is whole.

    Args:
        specification: Says which function, and what it may use.
        data: The data folder.
        until: Later data does not count; has a time zone.
        artifact: Where the artifact goes; must not exist.
        runner: Where it runs.
        import_paths: Further folders in which the function may lie.

    Raises:
        InvalidInputError: The specification names no training, or the folder is there already.
        PermanentError: Training did not come to its end, or wrote nothing; says why, and what it printed.
    """
    rules = specification.training
    if rules is None:
        raise InvalidInputError(
            "training", "is missing: name what trains the model, training: {function: module:function}"
        )
    if artifact.exists():
        raise InvalidInputError("artifact", f"{artifact} is there already; move it away first")
    seconds = rules.timeout_minutes * _SECONDS_PER_MINUTE
    limits = SandboxLimits(
        memory_bytes=rules.memory_mib * MEBIBYTE,
        cpu_s=max(1, round(seconds)),
        wall_s=seconds,
        output_bytes=specification.artifact.maximum_mib * MEBIBYTE,
    )
    # Beside its place, so that it gets there in one step.
    with tempfile.TemporaryDirectory(prefix=".training-", dir=artifact.parent) as temporary:
        output = Path(temporary)
        arguments = {"function": rules.function, "until": until.isoformat()}
        ended = runner.run(GateTask(TRAIN, arguments, {DATA: data}, output, limits, import_paths))
        if not ended.completed:
            printed = " ".join(ended.log[-_SHOWN_LOG_CHARACTERS:].split())
            raise PermanentError(
                f"{rules.function} did not train the model: {ended.problem}. {printed}".strip()
            )
        trained = output / ARTIFACT_FOLDER
        if not any(trained.iterdir()):
            raise PermanentError(f"{rules.function} wrote no file into the folder that it was given")
        shutil.move(trained, artifact)
    return ended
