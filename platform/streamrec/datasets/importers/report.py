"""What an import did: rows read, kept and quarantined, per file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.datasets.writer import REPORT_FILE

DATA_IMPORT_SCHEMA: Final = "streamrec.data_import.v1"


@dataclass(frozen=True)
class FileReport:
    """Rows of one source file.

    Attributes:
        file: Its name.
        rows_read: Rows found, header excluded.
        rows_kept: Rows in the output.
        quarantined: Rows in quarantine by reason. ``rows_read`` is ``rows_kept`` plus their sum.
        repaired: Kept rows of which an optional attribute became unknown or was shortened, by attribute and
            reason.
    """

    file: str
    rows_read: int
    rows_kept: int
    quarantined: Mapping[str, int]
    repaired: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ImportReport:
    """One import.

    Attributes:
        output: The data folder that was written.
        files: One report per source file, in the order of reading.
        interactions: Interactions in the output.
        items: Items in the output.
        users: Distinct users among the output's interactions and users.
    """

    output: Path
    files: tuple[FileReport, ...]
    interactions: int
    items: int
    users: int

    @property
    def rows_read(self) -> int:
        """Rows of all source files."""
        return sum(file.rows_read for file in self.files)

    @property
    def rows_kept(self) -> int:
        """Rows of all source files that are in the output."""
        return sum(file.rows_kept for file in self.files)

    @property
    def quarantined(self) -> Mapping[str, int]:
        """Quarantined rows of all files by reason."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.quarantined)
        return dict(sorted(total.items()))

    @property
    def rows_quarantined(self) -> int:
        """Rows in quarantine."""
        return sum(self.quarantined.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the same import gives the same ones, so they name no path or time."""
        return {
            "files": [asdict(file) for file in self.files],
            "interactions": self.interactions,
            "items": self.items,
            "users": self.users,
        }


def import_result(report: ImportReport) -> Result:
    """An import that wrote a data folder has passed; its reasons count quarantined and repaired rows."""
    reasons = [
        Reason(
            "quarantined",
            f"files.{position}.quarantined.{cause}",
            f"{rows:,} of {file.rows_read:,} rows of {file.file} are quarantined: {cause.replace('_', ' ')}",
        )
        for position, file in enumerate(report.files)
        for cause, rows in file.quarantined.items()
    ]
    reasons += [
        Reason(
            "repaired",
            f"files.{position}.repaired.{attribute}.{cause}",
            f"{attribute} became unknown or was shortened in {rows:,} of {file.rows_kept:,} rows of "
            f"{file.file}: {cause.replace('_', ' ')}",
        )
        for position, file in enumerate(report.files)
        for attribute, causes in file.repaired.items()
        for cause, rows in causes.items()
    ]
    return Result(DATA_IMPORT_SCHEMA, Verdict.PASSED, tuple(reasons), report.to_json())


def write_report(folder: Path, report: ImportReport) -> None:
    """Write the report beside the data."""
    content = report.to_json()
    (folder / REPORT_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
