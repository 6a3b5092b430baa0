"""Text for people is allowed in an artifact as long as it is only text."""

from __future__ import annotations

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import scan


@pytest.fixture
def check(tmp_path):
    def run(content: bytes) -> None:
        (tmp_path / "model_card.md").write_bytes(content)
        check_formats(tmp_path, scan(tmp_path))

    return run


def test_text_is_allowed(check):
    check("# Card\n\n| größe | 1 |\n".encode())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"red \x1b[31mtext", "'\\\\x1b'"),
        (b"nul \x00", "'\\\\x00'"),
        ("turned \u202e round".encode(), "202e"),
        (b"\xff\xfe", "not readable"),
        (b"a" * (1024 * 1024 + 1), "larger than"),
    ],
)
def test_what_a_terminal_would_obey_and_what_is_no_text_is_refused(check, content, problem):
    with pytest.raises(ArtifactError, match=problem):
        check(content)
