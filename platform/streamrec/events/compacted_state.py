"""Which Parquet files hold the compacted part of the log: one small file, replaced atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ArtifactError, DependencyError
from streamrec.events.records import RecordKind
from streamrec.files import durable_files

STATE_FILE: Final = "compacted.json"

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class CompactedFile:
    """One Parquet file.

    Attributes:
        path: Relative to the log's folder.
        kind: The one kind of its records.
        date: The one UTC date of its records, by the platform's clock.
        rows: Number of records.
        sha256: Of the file's bytes, hexadecimal: Parquet's own checksums leave headers uncovered.
    """

    path: str
    kind: RecordKind
    date: date
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CompactedState:
    """What has been compacted.

    Attributes:
        generation: Grows by one with every compaction.
        files: All Parquet files; others in the folder are leftovers of a compaction that was cut off.
        consumed: Names of the segments whose records are in ``files`` and that may still exist.
        corrupt_lines: Complete lines that could not be read, since the beginning.
    """

    generation: int = 0
    files: tuple[CompactedFile, ...] = ()
    consumed: frozenset[str] = frozenset()
    corrupt_lines: int = 0


def parquet_folder(root: Path) -> Path:
    """Return the folder of the Parquet files."""
    return root / "parquet"


def load_state(root: Path) -> CompactedState:
    """Return the current state; an empty one where nothing has been compacted.

    Raises:
        ArtifactError: The file is damaged.
        DependencyError: It cannot be read.
    """
    path = root / STATE_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return CompactedState()
    except OSError as error:
        raise DependencyError(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']} is not {_FORMAT}")
        return CompactedState(
            generation=int(document["generation"]),
            files=tuple(
                CompactedFile(
                    str(file["path"]),
                    RecordKind(file["kind"]),
                    date.fromisoformat(file["date"]),
                    int(file["rows"]),
                    str(file["sha256"]),
                )
                for file in document["files"]
            ),
            consumed=frozenset(map(str, document["consumed"])),
            corrupt_lines=int(document["corrupt_lines"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); restore it from a backup") from error


def store_state(root: Path, state: CompactedState) -> None:
    """Replace the state; on the disk when this returns. Raises `OSError`."""
    document = {
        "format": _FORMAT,
        "generation": state.generation,
        "files": [
            {
                "path": file.path,
                "kind": file.kind.value,
                "date": file.date.isoformat(),
                "rows": file.rows,
                "sha256": file.sha256,
            }
            for file in state.files
        ],
        "consumed": sorted(state.consumed),
        "corrupt_lines": state.corrupt_lines,
    }
    durable_files.write_atomically(root / STATE_FILE, json.dumps(document, indent=1).encode())
