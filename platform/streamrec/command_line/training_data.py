"""What a workspace trains on: its imported data and, on top of it, what its users did since."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line import composition
from streamrec.command_line.event_options import time_range
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import DataFolderError, InvalidInputError

if TYPE_CHECKING:
    from streamrec.datasets.dataset import Dataset

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Only this data folder in the neutral format; default: the workspace's imported data and, "
        "on top of it, its event log.",
    ),
]

ImportedOption = Annotated[
    Path | None,
    typer.Option(
        "--imported", help="The imported data, where WORKSPACE/data holds several folders; not with --data."
    ),
]

UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        help="Events and items that came later do not count: ISO 8601, UTC where it has no zone; "
        "default: now.",
    ),
]


@dataclass(frozen=True)
class TrainingData:
    """What is trained on.

    Attributes:
        dataset: All of it. Its fingerprint covers the imported files, the events and the item log.
        events_until: Events before this moment are in it; None where the event log was left out.
        events_added: Interactions that the event log added.
    """

    dataset: Dataset
    events_until: datetime | None
    events_added: int

    def summary(self) -> str:
        """One line for people."""
        imported = len(self.dataset.interactions) - self.events_added
        if self.events_until is None:
            return f"{imported:,} interactions of {self.dataset.folder}, without the event log"
        return (
            f"{imported:,} interactions of {self.dataset.folder} and {self.events_added:,} of the event log "
            f"until {self.events_until:%Y-%m-%d %H:%M:%S} UTC"
        )


def read_training_data(
    workspace: Workspace, *, data: Path | None, imported: Path | None, until: str | None
) -> TrainingData:
    """Read what the options name. Users who were erased are left out of all of it.

    Raises:
        InvalidInputError: Options do not go together, or ``until`` is no time.
        DataFolderError: There is no imported data, several folders of it, or it cannot be used.
        ArtifactError: The event log or the item log is damaged.
    """
    if data is not None and (imported is not None or until is not None):
        raise InvalidInputError("--data", "trains on that folder alone: leave out --imported and --until")
    if data is not None:
        return TrainingData(
            composition.with_items_of_log(workspace, composition.load_data_folder(data)), None, 0
        )
    from streamrec.datasets.feedback import with_outcomes
    from streamrec.datasets.logged_segments import logged_segments, with_segments
    from streamrec.erasure.datasets import without_erased
    from streamrec.events.reader import FileEventReader
    from streamrec.events.records import RecordKind
    from streamrec.events.time_range import TimeRange

    end = time_range(None, until).end or datetime.now(UTC)
    folder = imported if imported is not None else imported_folder(workspace)
    base = composition.with_items_of_log(
        workspace, composition.load_data_folder(folder), None if until is None else end
    )
    reader, window = FileEventReader(workspace.events), TimeRange(end=end)
    events = reader.snapshot(window, (RecordKind.OUTCOME,))
    fed_back = with_segments(with_outcomes(base, events.outcomes), logged_segments(reader, window))
    dataset = without_erased(fed_back, composition.erasure_files(workspace).follow().is_erased)
    return TrainingData(dataset, end, len(dataset.interactions) - len(base.interactions))


@contextmanager
def training_data_folder(
    workspace: Workspace, *, imported: Path | None = None, until: str | None = None
) -> Iterator[Path]:
    """What the workspace trains on as a data folder, named as the imported one; gone when the block ends.

    Raises:
        As `read_training_data`.
    """
    from streamrec.datasets.writer import write_dataset

    read = read_training_data(workspace, data=None, imported=imported, until=until)
    with tempfile.TemporaryDirectory(prefix="streamrec-data-") as temporary:
        folder = Path(temporary) / read.dataset.folder.name
        write_dataset(read.dataset, folder)
        yield folder


def imported_folder(workspace: Workspace) -> Path:
    """The one data folder that was imported.

    Raises:
        DataFolderError: There is none, or several.
    """
    folders = sorted(path.parent for path in workspace.data.glob("*/interactions.parquet"))
    if not folders:
        raise DataFolderError(
            workspace.data,
            None,
            "holds no imported data; import some (streamrec data import ... --output "
            f"{workspace.data / 'mine'}), or name a folder with --data",
        )
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise DataFolderError(
            workspace.data, None, f"holds several data folders ({names}); say which with --imported"
        )
    return folders[0]
