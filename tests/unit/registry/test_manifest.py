"""The exact manifest: anything that differs is noticed and named."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.manifest import MANIFEST_FILE, scan, verify_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "artifact"
    (root / "tables").mkdir(parents=True)
    (root / "weights.npz").write_bytes(bytes(range(200)))
    (root / "tables" / "items.json").write_text("[1]")
    return root


def test_the_manifest_is_canonical_json_with_every_file(folder):
    digest = write_manifest(folder)
    raw = (folder / MANIFEST_FILE).read_bytes()
    assert hashlib.sha256(raw).hexdigest() == digest
    assert json.loads(raw) == {
        "format": 1,
        "files": [
            {
                "path": path,
                "size_bytes": (folder / path).stat().st_size,
                "sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest(),
            }
            for path in ("tables/items.json", "weights.npz")
        ],
    }
    assert raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode()
    assert write_manifest(folder) == digest
    assert [entry.path for entry in verify_manifest(folder, digest).entries] == [
        "tables/items.json",
        "weights.npz",
    ]


def flip(folder):
    content = bytearray((folder / "weights.npz").read_bytes())
    content[100] ^= 1
    (folder / "weights.npz").write_bytes(content)


def hide_folder(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "x.py").write_text("")


def link_file(folder):
    target = folder / "weights.npz"
    target.rename(folder.parent / "elsewhere.npz")
    target.symlink_to(folder.parent / "elsewhere.npz")


def link_folder(folder):
    target = folder / "tables"
    target.rename(folder.parent / "elsewhere")
    target.symlink_to(folder.parent / "elsewhere")


DAMAGE = {
    "a flipped bit": (flip, r"'weights\.npz' differs"),
    "an added file": (lambda f: (f / "more.json").write_text("1"), r"'more\.json' was added"),
    "an added file below": (
        lambda f: (f / "tables" / "x.json").write_text("1"),
        r"'tables/x\.json' was added",
    ),
    "a rename": (
        lambda f: (f / "weights.npz").rename(f / "w.npz"),
        r"'weights\.npz' is missing.*'w\.npz' was",
    ),
    "a truncation": (lambda f: os.truncate(f / "weights.npz", 199), r"199 bytes, expected 200"),
    "an extension": (lambda f: os.truncate(f / "weights.npz", 201), r"201 bytes, expected 200"),
    "a missing file": (lambda f: (f / "weights.npz").unlink(), r"'weights\.npz' is missing"),
    "a hidden folder": (hide_folder, r"\.git: hidden"),
    "a hidden file": (lambda f: (f / ".x").write_text(""), r"\.x: hidden"),
    "an empty folder": (lambda f: (f / "void").mkdir(), r"void: an empty folder"),
    "a linked file": (link_file, r"weights\.npz: neither"),
    "a linked folder": (link_folder, r"tables: neither"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe.json"), r"pipe\.json: neither"),
    "a changed manifest": (lambda f: (f / MANIFEST_FILE).write_text("{}"), r"its digest is not"),
    "a missing manifest": (lambda f: (f / MANIFEST_FILE).unlink(), r"manifest\.json is missing"),
    "a name with a newline": (lambda f: (f / "a\nb.json").write_text("1"), r"refused"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_difference_is_noticed_and_named(folder, kind):
    damage, words = DAMAGE[kind]
    digest = write_manifest(folder)
    damage(folder)
    with pytest.raises(ArtifactError, match=words):
        verify_manifest(folder, digest)


def test_a_manifest_rewritten_to_fit_the_damage_has_another_digest(folder):
    digest = write_manifest(folder)
    flip(folder)
    write_manifest(folder)
    with pytest.raises(ArtifactError, match="its digest is not"):
        verify_manifest(folder, digest)


def test_an_empty_or_missing_folder_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="empty"):
        scan(tmp_path)
    with pytest.raises(ArtifactError, match="not a folder"):
        scan(tmp_path / "missing")


def test_folders_within_folders_end_somewhere(tmp_path):
    deepest = tmp_path.joinpath(*["f"] * 16)
    deepest.mkdir(parents=True)
    (deepest / "model.json").write_text("{}")
    assert len(scan(tmp_path).entries) == 1
    (deepest / "f").mkdir()
    (deepest / "f" / "model.json").write_text("{}")
    with pytest.raises(ArtifactError, match="more than 16 folders deep"):
        scan(tmp_path)
