"""Tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 120


def stdout_console() -> Console:
    """Console on stdout; wide enough for a table where stdout is a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, unbroken: int = 0) -> Group:
    """Build a titled table whose first column is text and whose other columns are figures.

    Args:
        title: Shown above; plain text.
        columns: Column heads; plain text.
        rows: Cells; plain text, of the columns' number.
        unbroken: So many columns at the left keep each cell in one line: names, which people copy.
    """
    shown = Table(box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        justify: JustifyMethod = "left" if position == 0 else "right"
        shown.add_column(escape(column), justify=justify, overflow="fold", no_wrap=position < unbroken)
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    # A title of the table itself would be wrapped to the table's width.
    return Group(Text(title, style="bold"), shown)


def figure_text(value: float | None, digits: int = 3) -> str:
    """Write a figure; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval_text(interval: Mapping[str, Any] | None) -> str:
    """Write an interval of the evaluation's JSON as ``.1234 (.1100-.1370)``; a dash where there is none.

    Bounds below zero are joined by a word: a minus behind a dash is read over.
    """
    if interval is None or interval.get("value") is None:
        return "-"
    text = f"{interval['value']:.4f}"
    if interval.get("low") is None or interval.get("high") is None:
        return text
    between = "-" if interval["low"] >= 0.0 else " to "
    return f"{text} ({interval['low']:.4f}{between}{interval['high']:.4f})"
