"""How entries of the ledger are shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamrec.command_line.tables import stdout_console, table
from streamrec.contracts.canonical_json import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Group

    from streamrec.contracts.ledger_entry import LedgerEntry
    from streamrec.contracts.results import Result
    from streamrec.ledger.served import Served

_COLUMNS = ("entry", "time (UTC)", "kind", "subject", "by", "reason", "evidence")
_SHOWN_DIGEST_CHARACTERS = 12


def entries_table(title: str, entries: Sequence[LedgerEntry]) -> Group:
    """A row for each entry."""
    return table(title, _COLUMNS, [_row(entry) for entry in entries])


def _row(entry: LedgerEntry) -> tuple[str, ...]:
    return tuple(
        one_line(cell)
        for cell in (
            str(entry.seq),
            _time(entry.at),
            entry.kind.value,
            entry.subject,
            f"{entry.actor} ({entry.role})",
            entry.reason,
            (entry.evidence_digest or "")[:_SHOWN_DIGEST_CHARACTERS],
        )
    )


def _without_subject(cells: tuple[str, ...]) -> tuple[str, ...]:
    place = _COLUMNS.index("subject")
    return cells[:place] + cells[place + 1 :]


def print_served(found: Served, result: Result) -> None:
    """What served, since when, and what had been decided about it."""
    since = found.since
    lines = [
        f"{found.slot} at {_time(found.at)}: {found.version or 'nothing: the slot was emptied'}",
        f"  since     {_time(since.at)}, revision {found.change.revision} (entry {since.seq}, "
        f"{found.change.kind})",
        f"  by        {since.actor} ({since.role}){': ' if since.reason else ''}{since.reason}",
        f"  before    {result.content['before'] or 'nothing'}",
        f"  until     {'now' if found.until is None else _time(found.until.at)}",
        f"  approved  {_approvals(result.content['approved_by'])}",
        f"  evidence  {since.evidence_digest}",
    ]
    console = stdout_console()
    for line in lines:
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
    if found.decisions:
        verdicts = [decision["verdict"] or "" for decision in result.content["decisions"]]
        rows = [
            (*_without_subject(_row(entry)), one_line(verdict))
            for entry, verdict in zip(found.decisions, verdicts, strict=True)
        ]
        console.print(
            table(
                f"What had been decided about {found.version}", (*_without_subject(_COLUMNS), "verdict"), rows
            )
        )


def _approvals(approvals: Sequence[dict[str, Any]]) -> str:
    return (
        ", ".join(f"{one['actor']} ({one['role']}, entry {one['seq']})" for one in approvals) or "by nobody"
    )


def _time(at: datetime) -> str:
    from datetime import UTC

    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
