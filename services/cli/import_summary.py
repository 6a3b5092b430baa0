"""What the commands that import share: two options, and the table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from streamrec.datasets.importers import ImportReport

OutputOption = Annotated[
    Path, typer.Option("--output", help="Data folder to write; an earlier one is replaced.")
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", dir_okay=False, help="Write what was read, kept and quarantined here."),
]


def import_summary(report: ImportReport) -> Group:
    """Build the table of what an import read, kept, quarantined and repaired."""
    from streamrec.command_line.tables import table

    def reasons(counts: dict[str, int]) -> str:
        return ", ".join(f"{reason}: {rows:,}" for reason, rows in counts.items()) or "-"

    return table(
        f"Imported into {report.output}: {report.users:,} users, {report.items:,} items, "
        f"{report.interactions:,} interactions",
        ("file", "rows read", "kept", "quarantined", "reasons", "repaired attributes"),
        (
            (
                file.file,
                f"{file.rows_read:,}",
                f"{file.rows_kept:,}",
                f"{sum(file.quarantined.values()):,}",
                reasons(dict(file.quarantined)),
                reasons(
                    {
                        f"{attribute} {reason}": rows
                        for attribute, causes in file.repaired.items()
                        for reason, rows in causes.items()
                    }
                ),
            )
            for file in report.files
        ),
    )
