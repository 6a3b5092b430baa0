"""`streamrec ledger`: who decided what on which evidence, and the proof that nobody changed it since."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.errors import ArtifactError, DocumentRefusedError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamrec.contracts.ledger_entry import EntryKind, LedgerAnchor
    from streamrec.documents.store import DocumentSource
    from streamrec.ledger.ledger import Ledger
    from streamrec.ledger.verification import Verification

app = typer.Typer(
    help="The decision ledger: verify it, show it, export it, anchor it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_MOST_SHOWN: Final = 100_000
_LONGEST_NUMBER: Final = 15
"""Digits of an entry's number; a digest has 64."""

JsonOption = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="Write what was found as JSON.")
]
RegistryOption = Annotated[
    bool, typer.Option("--registry", help="Also the anchor that is kept in the model registry.")
]


@app.command("verify")
def verify_ledger(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    file: Annotated[
        Path | None,
        typer.Option("--file", dir_okay=False, help="Verify an export ('streamrec ledger export') instead."),
    ] = None,
    anchors: Annotated[
        list[Path] | None,
        typer.Option("--anchor", dir_okay=False, help="A further anchor to compare with; may be repeated."),
    ] = None,
    registry: RegistryOption = False,
    public_keys: Annotated[
        Path | None,
        typer.Option("--public-keys", file_okay=False, help="Keys that count; else the workspace's."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Look for the first entry that is not as it was appended: edited, left out, moved, or without evidence.

    The workspace's own anchor shows entries that were cut off at the end. An export may be older: it is
    compared with the anchors that are named, and with no other.
    """
    from streamrec.command_line.results import finish
    from streamrec.ledger import reports

    place = Workspace(workspace)
    name = str(file or "the ledger")
    try:
        known = _anchors(place, anchors or (), registry, public_keys, with_own=file is None)
        result = reports.verification_result(name, _verified(place, file, known))
    except DocumentRefusedError as error:
        problem = f"the anchor is refused ({error.code}): {error}"
        result = reports.unreadable_result(name, reports.ANCHOR_REFUSED, problem)
    except ArtifactError as error:
        result = reports.unreadable_result(name, reports.DAMAGED, str(error))
    finish(result, json_file)


def _anchors(
    place: Workspace, named: Sequence[Path], registry: bool, public_keys: Path | None, *, with_own: bool
) -> list[LedgerAnchor]:
    from streamrec.command_line.ledger_parts import anchor_file, anchor_store, registry_anchor_store
    from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
    from streamrec.ledger.anchors import read_anchor

    keys = PublicKeyFolder(public_keys or KeyFolder(place.keys).public_folder)
    sources: list[DocumentSource] = [anchor_store(path) for path in named]
    if registry:
        sources.append(registry_anchor_store(place))
    found = []
    for source in sources:
        anchor = read_anchor(source, keys)
        if anchor is None:
            raise NotFoundError(f"there is no anchor: {source}")
        found.append(anchor)
    own = read_anchor(anchor_store(anchor_file(place)), keys) if with_own else None
    return found if own is None else [*found, own]


def _verified(place: Workspace, file: Path | None, anchors: Sequence[LedgerAnchor]) -> Verification:
    from rich.console import Console

    from streamrec.command_line.ledger_parts import has_ledger, open_ledger
    from streamrec.command_line.progress import shown_progress
    from streamrec.ledger.exports import announced_entries, read_export
    from streamrec.ledger.verification import verify

    with shown_progress(Console(stderr=True)) as progress:
        if file is not None:
            progress.start("Verifying", announced_entries(file))
            return verify(read_export(file), anchors, progress)
        if not has_ledger(place):
            return verify((), anchors)
        ledger = open_ledger(place)
        progress.start("Verifying", _number_of_entries(ledger))
        return verify(ledger.stored(), anchors, progress)


def _number_of_entries(ledger: Ledger) -> int:
    try:
        last = ledger.last()
    except ArtifactError:  # verifying will name the first entry that is bad; it need not be this one
        return 0
    return 0 if last is None else last.seq


@app.command("show")
def show(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    slot: Annotated[
        str | None, typer.Option("--slot", help="What served this slot, who approved it, on what evidence.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="At this time: ISO 8601, UTC where it has no zone; else now."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only about this: NAME@VERSION, a slot, a key.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only of this kind, as gates_judged; may be repeated."),
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, max=_MOST_SHOWN, help="The newest entries.")] = 20,
    evidence: Annotated[
        str | None,
        typer.Option("--evidence", metavar="ENTRY|DIGEST", help="Print the evidence of an entry as JSON."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Show the newest entries, what served a slot at a time, or the evidence of an entry."""
    from streamrec.command_line.event_options import moment

    time = None if at is None else moment("--at", at)
    if time is not None and slot is None:
        raise InvalidInputError("--at", "goes with --slot")
    if slot is not None and (subject is not None or kinds):
        raise InvalidInputError("--slot", "goes neither with --subject nor with --kind")
    wanted = [_kind(name) for name in kinds or ()]
    ledger = _existing(Workspace(workspace))
    if evidence is not None:
        _show_evidence(ledger, evidence)
    elif slot is not None:
        _show_served(ledger, slot, time or datetime.now(UTC), json_file)
    else:
        _show_entries(ledger, subject, wanted, last, json_file)


def _kind(name: str) -> EntryKind:
    from streamrec.contracts.ledger_entry import EntryKind

    try:
        return EntryKind(name)
    except ValueError as error:
        raise InvalidInputError("--kind", f"{name!r} is none of {', '.join(sorted(EntryKind))}") from error


def _existing(place: Workspace) -> Ledger:
    from streamrec.command_line.ledger_parts import has_ledger, open_ledger

    if not has_ledger(place):
        raise NotFoundError(f"there is no ledger {place.ledger}: nothing was decided in this workspace")
    return open_ledger(place)


def _show_evidence(ledger: Ledger, named: str) -> None:
    import json

    digest = named
    if named.isdecimal() and len(named) <= _LONGEST_NUMBER:
        entry = next(ledger.entries(after_seq=int(named) - 1, limit=1), None)
        if entry is None or entry.seq != int(named) or entry.evidence_digest is None:
            raise NotFoundError(f"there is no entry {named} that has evidence")
        digest = entry.evidence_digest
    typer.echo(json.dumps(ledger.evidence(digest), indent=2, ensure_ascii=False, allow_nan=False))


def _show_entries(
    ledger: Ledger, subject: str | None, kinds: Sequence[EntryKind], last: int, json_file: Path | None
) -> None:
    from services.cli.ledger_tables import entries_table
    from streamrec.command_line.results import write_result
    from streamrec.command_line.tables import stdout_console
    from streamrec.ledger.reports import entries_result

    newest = list(ledger.entries(subject=subject, kinds=kinds, newest_first=True, limit=last))[::-1]
    if json_file is not None:
        write_result(entries_result(newest), json_file)
    if newest:
        stdout_console().print(entries_table("Decisions, newest last", newest))
    else:
        typer.echo("no entries")


def _show_served(ledger: Ledger, slot: str, at: datetime, json_file: Path | None) -> None:
    from services.cli.ledger_tables import print_served
    from streamrec.command_line.results import finish, write_result
    from streamrec.contracts.slots import validate_slot_name
    from streamrec.ledger.reports import nothing_served_result, served_result
    from streamrec.ledger.served import served

    found = served(ledger, validate_slot_name(slot), at)
    if found is None:
        finish(nothing_served_result(slot, f"{at:%Y-%m-%d %H:%M:%S %Z}"), json_file)
        return
    result = served_result(ledger, found)
    print_served(found, result)
    if json_file is not None:
        write_result(result, json_file)


@app.command("export")
def export(
    output: Annotated[Path, typer.Option("--output", dir_okay=False, help="A new file of JSON lines.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write every entry with its evidence to a file that can be verified without the database."""
    from streamrec.ledger.exports import write_export

    written = write_export(_existing(Workspace(workspace)), output)
    typer.echo(
        f"{written.entries:,} entries in {output}; 'streamrec ledger verify --file {output}' verifies it"
    )


@app.command("anchor")
def anchor(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    to: Annotated[
        Path | None,
        typer.Option("--to", dir_okay=False, help="Another file: best on a disk that others cannot write."),
    ] = None,
    registry: RegistryOption = False,
) -> None:
    """Sign how the ledger ends now: kept elsewhere, it shows entries that are cut off or computed anew."""
    from streamrec.command_line.ledger_parts import (
        anchor_file,
        anchor_publisher,
        anchor_store,
        registry_anchor_store,
    )
    from streamrec.ledger.anchors import write_anchor

    place = Workspace(workspace)
    ledger = _existing(place)
    stores = [anchor_store(to or anchor_file(place))]
    if registry:
        stores.append(registry_anchor_store(place))
    for store in stores:
        written = write_anchor(ledger, anchor_publisher(place, store), sign_again=True)
        if written is None:
            raise NotFoundError("the ledger has no entries yet: there is nothing to anchor")
        typer.echo(f"anchored entry {written.seq:,} ({written.hash}) in {store}")
