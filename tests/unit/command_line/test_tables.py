from __future__ import annotations

import io

from rich.console import Console

from streamrec.command_line.tables import figure_text, interval_text, table


def shown(renderable, width=100):
    text = io.StringIO()
    Console(file=text, width=width).print(renderable)
    return text.getvalue()


def test_cells_and_titles_are_plain_text():
    text = shown(table("a [bold]title[/bold] longer than the table", ("[x]", "n"), [("[red]r[/red]", "1")]))
    assert text.splitlines()[0].strip() == "a [bold]title[/bold] longer than the table"
    assert "[red]r[/red]" in text
    assert "[x]" in text


def test_figures_that_are_not_there_are_dashes():
    assert figure_text(None) == "-"
    assert interval_text(None) == "-"
    assert interval_text({"value": None, "low": None, "high": None}) == "-"
    assert interval_text({"value": 0.12345, "low": None, "high": None}) == "0.1235"
    assert interval_text({"value": 0.1, "low": 0.05, "high": 0.15}) == "0.1000 (0.0500-0.1500)"
    assert interval_text({"value": -0.1, "low": -0.2, "high": 0.1}) == "-0.1000 (-0.2000 to 0.1000)"


def test_names_that_people_copy_stay_in_one_line():
    name, reason = "recommendations-retrieval@1", "a long reason " * 20
    rows = [("a.b", name, reason, reason)]
    columns = ("slot", "version", "reason", "standing")
    assert name not in shown(table("title", columns, rows), width=60)
    assert name in shown(table("title", columns, rows, unbroken=2), width=60)
