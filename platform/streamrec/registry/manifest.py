"""The exact list of an artifact's files: every file with size and SHA-256, and nothing else beside them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ArtifactError

MANIFEST_FILE: Final = "manifest.json"
"""Lies in the artifact's folder and lists every file but itself."""

_FORMAT: Final = 1
_MAXIMUM_FILES: Final = 10_000
_MAXIMUM_DEPTH: Final = 16
_MAXIMUM_MANIFEST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    """One file.

    Attributes:
        path: Relative to the folder, with forward slashes.
        size_bytes: Its size.
        sha256: Of its content, hexadecimal.
    """

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of an artifact, sorted by path."""

    entries: tuple[ManifestEntry, ...]

    def to_bytes(self) -> bytes:
        """Return the one canonical JSON form: the digest of an artifact is the digest of these bytes."""
        document = {
            "files": [
                {"path": entry.path, "sha256": entry.sha256, "size_bytes": entry.size_bytes}
                for entry in self.entries
            ],
            "format": _FORMAT,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def scan(folder: Path) -> Manifest:
    """Hash every file of a folder except its manifest.

    Raises:
        ArtifactError: The folder is missing or empty, or holds a link, a device, a hidden file or folder,
            an empty folder, folders nested too deeply, or a name that is not plain text.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise ArtifactError(f"{folder}: not a folder")
    entries: list[ManifestEntry] = []
    for path in _files(folder, 0):
        relative = path.relative_to(folder).as_posix()
        if relative == MANIFEST_FILE:
            continue
        if len(entries) >= _MAXIMUM_FILES:
            raise ArtifactError(f"{folder}: more than {_MAXIMUM_FILES} files")
        # Opened without following links: the entry could have been swapped since it was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            entries.append(ManifestEntry(relative, file.tell(), digest))
    if not entries:
        raise ArtifactError(f"{folder}: the artifact is empty")
    return Manifest(tuple(sorted(entries)))


def write_manifest(folder: Path) -> str:
    """Scan ``folder``, write its manifest into it and return the digest.

    Raises:
        ArtifactError: As in `scan`.
    """
    manifest = scan(folder)
    (folder / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    return manifest.digest


def verify_manifest(folder: Path, expected_digest: str) -> Manifest:
    """Check that a folder holds exactly the files whose manifest has this digest.

    Raises:
        ArtifactError: A byte, a name, a size or the number of files differs; says which file.
    """
    manifest_path = folder / MANIFEST_FILE
    if not manifest_path.is_file() or manifest_path.is_symlink():
        raise ArtifactError(f"{folder}: {MANIFEST_FILE} is missing")
    if manifest_path.stat().st_size > _MAXIMUM_MANIFEST_BYTES:
        raise ArtifactError(f"{manifest_path}: larger than {_MAXIMUM_MANIFEST_BYTES} bytes")
    raw = manifest_path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != expected_digest:
        raise ArtifactError(f"{manifest_path}: its digest is not {expected_digest}")
    found = scan(folder)
    if found.to_bytes() != raw:
        raise ArtifactError(f"{folder}: {_difference(raw, found)}")
    return found


def _files(folder: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as listing:
        children = sorted(listing, key=lambda child: child.name)
    if depth > _MAXIMUM_DEPTH:
        raise ArtifactError(f"{folder}: more than {_MAXIMUM_DEPTH} folders deep")
    if not children and depth > 0:
        raise ArtifactError(f"{folder}: an empty folder has no place in an artifact")
    for child in children:
        path = Path(child.path)
        if child.name.startswith("."):
            raise ArtifactError(f"{path}: hidden files and folders are refused")
        if not child.name.isprintable() or "\\" in child.name:
            raise ArtifactError(f"{folder}: the file name {child.name!r} is refused")
        mode = child.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from _files(path, depth + 1)
        elif stat.S_ISREG(mode):
            yield path
        else:
            raise ArtifactError(f"{path}: neither a file nor a folder; links and devices are refused")


def _difference(raw: bytes, found: Manifest) -> str:
    """Say in words how a folder differs from a manifest that is known to be genuine."""
    expected = {file["path"]: (file["size_bytes"], file["sha256"]) for file in json.loads(raw)["files"]}
    actual = {entry.path: (entry.size_bytes, entry.sha256) for entry in found.entries}
    parts = [f"{path!r} is missing" for path in sorted(expected.keys() - actual.keys())]
    parts += [f"{path!r} was added" for path in sorted(actual.keys() - expected.keys())]
    parts += [
        f"{path!r} differs ({actual[path][0]} bytes, expected {expected[path][0]})"
        for path in sorted(expected.keys() & actual.keys())
        if expected[path] != actual[path]
    ]
    return "; ".join(parts[:5]) or "the manifest is not in its canonical form"
