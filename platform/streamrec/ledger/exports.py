"""The whole ledger in one file of JSON lines, to be kept elsewhere and verified without the database.

A line holds one entry with its evidence, in canonical JSON; the last line says how many there are, so that a
copy that was cut short is seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError, NotFoundError
from streamrec.contracts.ledger_entry import LedgerEntry
from streamrec.files.durable_files import make_folder, remove, replace_with
from streamrec.ledger.ledger import MAXIMUM_EVIDENCE_BYTES, Ledger, StoredEntry
from streamrec.ledger.verification import Verification, verify

_ENTRY: Final = "entry"
_EVIDENCE: Final = "evidence"
_END: Final = "end"
_END_BYTES: Final = 256
"""More than the last line has."""
_MAXIMUM_LINE_BYTES: Final = MAXIMUM_EVIDENCE_BYTES + 65_536


def write_export(ledger: Ledger, path: Path) -> Verification:
    """Write a ledger that verifies to a new file, on the disk when this returns.

    Raises:
        InvalidInputError: The file is there already.
        ArtifactError: An entry is not what it was; nothing is left behind.
        DependencyError: The file cannot be written; nothing is left behind.
        TemporaryError: The ledger cannot be read.
    """
    if path.exists():
        raise InvalidInputError("output", f"{path} is there already; name another file")
    temporary = path.with_name(f"{path.name}.temporary")
    _make_folder(path.parent)
    try:
        with temporary.open("xb") as file:
            found = verify(_written(ledger.stored(), file))
            if found.bad is not None:
                raise ArtifactError(
                    f"nothing is exported: entry {found.bad.seq} of the ledger {found.bad.problem}"
                )
            digest = None if found.last is None else found.last.hash
            file.write(canonical_json({_END: {"entries": found.entries, "hash": digest}}) + b"\n")
        replace_with(path, temporary)
    except FileExistsError as error:
        raise InvalidInputError(
            "output", f"{temporary} is there: another export is under way, or was killed; then remove it"
        ) from error
    except OSError as error:
        remove(temporary)
        raise DependencyError(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error
    except BaseException:
        remove(temporary)
        raise
    return found


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise DependencyError(f"{folder} cannot be written: {os.strerror(error.errno or 0)}") from error


def _written(stored: Iterable[StoredEntry], file: Any) -> Iterator[StoredEntry]:
    for one in stored:
        yield one  # what comes back from here was found to be right
        if one.entry is not None:
            file.write(_line(one.entry, one.evidence) + b"\n")


def _line(entry: LedgerEntry, content: bytes | None) -> bytes:
    """One line; evidence is canonical JSON already, so that the line is too."""
    return b'{"%b":%b,"%b":%b}' % (
        _ENTRY.encode(),
        canonical_json(entry.to_json()),
        _EVIDENCE.encode(),
        b"null" if content is None else content,
    )


def read_export(path: Path) -> Iterator[StoredEntry]:
    """Read an export as it lies there, for `verification.verify`.

    A line that cannot be read, and an end that is missing, are told as an entry that cannot be read.

    Raises:
        NotFoundError: There is no such file.
        DependencyError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from _stored(file)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise DependencyError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error


def announced_entries(path: Path) -> int:
    """How many entries the end of an export says it has, for progress alone; 0 where it says nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _END_BYTES, 0))
            last_line = file.read(_END_BYTES).splitlines()[-1]
        entries = parse_json(last_line, maximum_bytes=_END_BYTES)[_END]["entries"]
    except (OSError, IndexError, InvalidInputError, KeyError, TypeError):
        return 0  # reading it whole says what is wrong
    return entries if isinstance(entries, int) else 0


def _stored(file: Any) -> Iterator[StoredEntry]:
    seq = 0
    while line := file.readline(_MAXIMUM_LINE_BYTES):
        seq += 1
        try:
            document = parse_json(line, maximum_bytes=_MAXIMUM_LINE_BYTES)
            if document.keys() == {_END}:
                problem = _problem_of_end(document[_END], seq - 1, file)
                if problem:
                    yield StoredEntry(seq, None, None, problem)
                return
            yield _stored_entry(document)
        except InvalidInputError as error:
            yield StoredEntry(seq, None, None, f"cannot be read: line {seq} of the file: {error}")
            return
    yield StoredEntry(seq + 1, None, None, "is missing: the file was cut, its last line is not there")


def _stored_entry(document: Mapping[str, Any]) -> StoredEntry:
    if document.keys() != {_ENTRY, _EVIDENCE}:
        raise InvalidInputError("line", f"must hold {_ENTRY!r} and {_EVIDENCE!r}")
    entry = LedgerEntry.from_json(document[_ENTRY], path=_ENTRY)
    evidence = document[_EVIDENCE]
    return StoredEntry(entry.seq, entry, None if evidence is None else canonical_json(evidence))


def _problem_of_end(end: Any, entries: int, file: Any) -> str:
    if not isinstance(end, Mapping) or end.get("entries") != entries:
        return f"is missing: the file says {end!a:.100} at its end and holds {entries}"
    return "stands behind the end of the file" if file.read(1) else ""
