from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamrec.command_line.progress import BarProgress, LineProgress, shown_progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_lines_come_at_the_start_every_few_seconds_and_at_the_end():
    lines, clock = [], Clock()
    progress = LineProgress(lines.append, interval_s=5.0, clock=clock)
    progress.start("ranker", 100)
    for _ in range(10):
        clock.now += 1.0
        progress.advance(10, note="loss 3.2")
    progress.finish("loss 3.1")
    assert lines == [
        "  ranker: started, 100 steps",
        "  ranker: 50 of 100 (50%), 5.0 s, loss 3.2",
        "  ranker: 100 of 100 (100%), 10.0 s, loss 3.2",
        "  ranker: ended, 100 of 100 (100%), 10.0 s, loss 3.1",
    ]


def test_a_new_piece_ends_the_one_before_and_steps_outside_of_one_are_ignored():
    lines = []
    progress = LineProgress(lines.append, clock=Clock())
    progress.advance()
    progress.finish()
    progress.start("first", 0)
    progress.start("second", 2)
    assert [line.split(":")[0].strip() for line in lines] == ["first", "first", "second"]
    assert lines[1] == "  first"


def test_a_pipe_gets_lines_without_control_characters():
    pipe = io.StringIO()
    with shown_progress(Console(file=pipe, force_terminal=False)) as progress:
        progress.start("import [bold]x[/bold]", 2)
        progress.advance(2)
    text = pipe.getvalue()
    assert "\x1b" not in text
    assert "import [bold]x[/bold]: started, 2 steps" in text
    assert "ended, 2 of 2" in text


def test_a_terminal_gets_a_bar_that_is_ended_by_an_error():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)

    def fail():
        with shown_progress(console) as progress:
            assert isinstance(progress, BarProgress)
            progress.start("train [x]", 4)
            progress.advance(1, note="loss [3]")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        fail()
    assert "train [x]" in screen.getvalue()
    assert "loss [3]" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[?25h")  # the cursor is shown again
