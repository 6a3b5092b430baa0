"""Where the demo's data comes from, and which part of it serving may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.command_line.composition import check_source, is_movielens
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.datasets.importers import ImportReport, import_movielens, import_neutral
from streamrec.training.splits import UserHistories, leave_last_out


class SourceKind(StrEnum):
    """What the data is."""

    WORLD = "world"
    MOVIELENS = "movielens"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class PreparedData:
    """Data in the neutral format, and how it got there.

    Attributes:
        kind: What it is.
        name: For people.
        description: One sentence for people.
        dataset: All of it.
        files: Rows read, kept and quarantined by file, as the summary has them.
        world: Measures of the simulated world under the old policy; None for other data.
    """

    kind: SourceKind
    name: str
    description: str
    dataset: Dataset
    files: Sequence[Mapping[str, Any]]
    world: Mapping[str, Any] | None = None


def import_source(source: Path, output: Path, progress: Progress) -> PreparedData:
    """Import a MovieLens folder, or check a folder in the neutral format row by row.

    Raises:
        DataFolderError: The folder is neither, or cannot be used.
    """
    check_source(source)
    if is_movielens(source):
        report = import_movielens(source, output, progress)
        kind, description = SourceKind.MOVIELENS, "Real data: MovieLens ratings as a stream of interactions."
    else:
        report = import_neutral(source, output, progress)
        kind, description = SourceKind.NEUTRAL, "A data folder in the neutral format."
    name = source.resolve().name
    return PreparedData(kind, name, description, load_dataset(output), file_rows(report))


def file_rows(report: ImportReport) -> list[dict[str, Any]]:
    """Turn an import's report into the summary's rows."""
    return [
        {
            "name": file.file,
            "read": file.rows_read,
            "kept": file.rows_kept,
            "quarantined": sum(file.quarantined.values()),
            "reasons": dict(file.quarantined),
        }
        for file in report.files
    ]


def generate_source(settings: WorldSettings, output: Path, progress: Progress) -> PreparedData:
    """Simulate a world and read what it logged."""
    measures = generate_world(settings, output, progress)
    dataset = load_dataset(output)
    return PreparedData(
        SourceKind.WORLD,
        "Simulated StreamRec",
        f"A simulated world: {settings.days} days under the old policy, seed {settings.seed}.",
        dataset,
        dataset_rows(dataset),
        measures.as_json(),
    )


def dataset_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Rows of data that was generated: there is nothing to quarantine."""
    counts = {
        "interactions.parquet": len(dataset.interactions),
        "items.parquet": len(dataset.catalogue),
        "users.parquet": len(dataset.users),
    }
    return [
        {"name": name, "read": rows, "kept": rows, "quarantined": 0, "reasons": {}}
        for name, rows in counts.items()
    ]


def hold_out_last(dataset: Dataset) -> tuple[UserHistories, dict[str, str]]:
    """Return what serving may know of the interactions: all but each evaluated user's test item.

    Returns:
        The histories, as every model is evaluated with; and the test item by user id.
    """
    split = leave_last_out(dataset)
    item_ids = dataset.catalogue.item_ids
    held_out = {
        split.history.user_ids[user]: item_ids[item]
        for user, item in zip(split.evaluated.tolist(), split.test.tolist(), strict=True)
    }
    return split.history, held_out
