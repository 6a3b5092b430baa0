"""Whatever names a command of `streamrec`, in documents, messages or help texts, names one that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from services.cli.main import app
from services.cli.spokes import installed_spokes, load_commands

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
HUB = get_command(app).commands
COMMANDS = HUB | {name: load_commands(spoke) for name, spoke in installed_spokes(HUB).items()}

NAMING = sorted(
    path
    for pattern in (
        "*.md",
        "Makefile",
        "docs/**/*.md",
        "platform/**/*.py",
        "services/**/*.py",
        "services/**/*.j2",
    )
    for path in ROOT.glob(pattern)
    if "streamrec " in path.read_text(encoding="utf-8")
)
MENTION = re.compile(r"""(?:[`'">/]|:[ ]|^)streamrec ((?:[a-z][a-z-]*[ ]?)+)""", re.MULTILINE)


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words lead to, and the words that are left, which are its arguments."""
    found, left = COMMANDS.get(words[0]), words[1:]
    assert found is not None, f"there is no command 'streamrec {words[0]}'"
    while left and hasattr(found, "commands"):
        assert left[0] in found.commands, f"there is no command {left[0]!r} in {' '.join(words)!r}"
        found, left = found.commands[left[0]], left[1:]
    return found, left


def mentions(path: Path) -> list[list[str]]:
    return [match.split() for match in MENTION.findall(path.read_text(encoding="utf-8"))]


def test_mentions_are_found_and_former_names_are_not_commands():
    assert sum(len(mentions(path)) for path in NAMING) > 50
    assert find(["data", "import", "movielens", "folder"])[1] == ["folder"]
    for former in ("train", "evaluate", "serve", "world", "index", "exposure", "hand-over"):
        with pytest.raises(AssertionError, match="there is no command"):
            find([former])


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_that_is_named_exists(path):
    for words in mentions(path):
        find(words)


def test_the_hub_names_no_command_of_a_spoke():
    hub = [
        path
        for path in NAMING
        if path.is_relative_to(ROOT / "platform")
        or (path.parent == ROOT / "services" / "cli" and path.suffix == ".py")
    ]
    strays = {
        str(path.relative_to(ROOT)): words for path in hub for words in mentions(path) if words[0] not in HUB
    }
    assert strays == {}


def test_the_readmes_examples_name_options_that_exist():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("streamrec ")]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        command, arguments = find(words)
        assert not hasattr(command, "commands"), f"{line}: names a group, not a command"
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in arguments if word.startswith("--") and word not in known]
        assert unknown == [], line


def every_command(group: dict[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.items():
        if hasattr(command, "commands"):
            yield from every_command(command.commands, *path, name)
        else:
            yield " ".join((*path, name)), command


def test_the_readme_lists_every_command_with_its_help():
    expected = [
        f"| `{name}` | {command.get_short_help_str(200)} |"
        for name, command in every_command(COMMANDS, "streamrec")
    ]
    listed = [
        line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `streamrec ")
    ]
    assert listed == expected, "the table in README.md should be:\n" + "\n".join(expected)
