"""How a command that judges something ends: the verdict in plain words, the file, the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from streamrec.command_line.files import write_json
from streamrec.command_line.tables import stdout_console
from streamrec.contracts.results import Result, Verdict

_SHOWN_REASONS: Final = 10
"""Reasons on the last line; the file has all of them."""


def finish(result: Result, json_file: Path | None = None) -> None:
    """Write the result where it is asked for, print its verdict as the last line, and end the command.

    Args:
        result: What the command found.
        json_file: Where to write it as JSON; None to write nothing.

    Raises:
        InvalidInputError: The file cannot be written.
        typer.Exit: The verdict is not ``passed``; with the exit status of the verdict.
    """
    if json_file is not None:
        write_result(result, json_file)
    _print(verdict_line(result))
    if result.verdict is not Verdict.PASSED:
        raise typer.Exit(result.exit_status)


def write_result(result: Result, json_file: Path) -> None:
    """Write the result as JSON and say where; for a command that has more to do before it ends.

    Raises:
        InvalidInputError: The file cannot be written.
    """
    write_json(json_file, result.to_json())
    _print(f"Figures in {json_file}")


def verdict_line(result: Result) -> str:
    """The verdict with its reasons in one line of plain words."""
    messages = [reason.message for reason in result.reasons[:_SHOWN_REASONS]]
    left_out = len(result.reasons) - len(messages)
    if left_out:
        messages.append(f"and {left_out} more")
    return f"{result.verdict}: {'; '.join(messages)}" if messages else str(result.verdict)


def _print(line: str) -> None:
    stdout_console().print(line, markup=False, highlight=False, soft_wrap=True)
