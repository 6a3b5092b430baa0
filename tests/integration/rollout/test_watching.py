"""A rollout is watched over the real controller and analysis, with a clock that the test turns."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from services.cli.rollouts.seen import SeenRollout, SeenTransition, status_result
from services.cli.rollouts.shown import head_lines, list_row, picture
from services.cli.rollouts.watching import PATIENCE_S, LineScreen, screen_for, watch
from streamrec.contracts.errors import DependencyError, NotFoundError
from streamrec.contracts.exit_statuses import ExitStatus
from streamrec.contracts.results import Result
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.rollout.analysis import analyse
from streamrec.rollout.requests import Ask
from tests.control_of_platform import ControlOfPlatform
from tests.rolled_out import ANA, NOON, OPS, PLAN, RANKING, Platform


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path, analyse=analyse)
    made.writer.promote([made.register("ranking")], actor="ana")
    made.replicas_of("ranking")
    made.now = NOON + timedelta(minutes=5)
    made.follow()
    return made


def watched(control: ControlOfPlatform, name: str, **options):
    lines: list[str] = []
    seen, last = watch(control, name, LineScreen(lines.append), sleep=lambda _: None, **options)
    return seen, last, lines


def test_a_healthy_rollout_is_a_line_a_change_and_passes(platform):
    second = platform.register("ranking")
    name = platform.controller.start([second], PLAN, ANA).rollout
    seen, last, lines = watched(ControlOfPlatform(platform), name)
    assert seen.state.phase is RolloutPhase.COMPLETED
    text = "\n".join(lines)
    assert f"{RANKING}: ranking@1 -> ranking@2" in text
    for step in ("1 of 3 (10 %)", "2 of 3 (50 %)", "3 of 3 (100 %)"):
        assert text.count(f"goes on, canary, step {step}") == 1
    assert "plan: 10 % > 50 % > 100 % > champion, watched for 3 min" in text
    assert "Z started, preparing, by ana: a better model" in text
    assert sum("Z completed, by rollout-controller" in line for line in lines) == 1
    assert len(lines) < 30
    result = status_result(seen, last)
    assert result.exit_status is ExitStatus.PASSED
    assert Result.from_json(result.to_json(), schema=result.schema).content["rollout"]["phase"] == "completed"


def test_one_that_does_harm_fails_with_the_reason_of_its_end(platform):
    second = platform.register("ranking")
    platform.wrong = {second}
    name = platform.controller.start([second], PLAN, ANA).rollout
    seen, last, lines = watched(ControlOfPlatform(platform), name)
    assert seen.state.phase is RolloutPhase.ROLLED_BACK
    assert any("rolled back, by rollout-controller" in line for line in lines)
    result = status_result(seen, last)
    assert result.exit_status is ExitStatus.FAILED
    assert result.reasons[0].code == "rolled_back"
    assert last is not None
    assert last.reason in result.reasons[0].message


def test_one_under_way_is_inconclusive_with_what_it_waits_for(platform):
    name = platform.controller.start([platform.register("ranking")], PLAN, ANA).rollout
    control = ControlOfPlatform(platform, requests=0)
    for _ in range(5):
        control.drive()
    seen = SeenRollout.from_json(control.look(name))
    result = status_result(seen, None)
    assert result.exit_status is ExitStatus.INCONCLUSIVE
    assert result.reasons == seen.state.waits_for
    assert [line for line in head_lines(seen.state) if "waits:" in line]
    assert list_row(seen.state)[3] == "canary, step 1 of 3 (10 %)"
    platform.controller.request(name, Ask.PAUSE, OPS)
    paused = SeenRollout.from_json(control.look(name)).state
    assert list_row(paused)[3].endswith(", paused")


def test_watching_until_champion_ends_before_the_watch_is_over(platform):
    name = platform.controller.start([platform.register("ranking")], PLAN, ANA).rollout
    seen, last, _ = watched(ControlOfPlatform(platform), name, until_champion=True)
    assert seen.state.phase is RolloutPhase.WATCH
    assert status_result(seen, last, until_champion=True).exit_status is ExitStatus.PASSED
    assert status_result(seen, last).exit_status is ExitStatus.INCONCLUSIVE


def test_a_control_plane_that_is_started_again_is_waited_for_and_said_once(platform):
    name = platform.controller.start([platform.register("ranking")], PLAN, ANA).rollout
    control = ControlOfPlatform(platform)
    control.fails = [DependencyError("connection refused")] * 3
    seen, _, lines = watched(control, name)
    assert seen.state.phase is RolloutPhase.COMPLETED
    assert sum("no answer, trying again: connection refused" in line for line in lines) == 1


def test_one_that_never_answers_and_one_that_is_not_there_end_the_watching(platform):
    control = ControlOfPlatform(platform)
    with pytest.raises(NotFoundError):
        watched(control, "nothing")
    name = platform.controller.start([platform.register("ranking")], PLAN, ANA).rollout
    control.fails = [DependencyError("connection refused")] * 100
    now_s = iter(range(0, 100_000, int(PATIENCE_S / 4)))
    with pytest.raises(DependencyError):
        watched(control, name, clock_s=lambda: float(next(now_s)))
    assert len(control.fails) > 90


def test_a_terminal_gets_the_whole_picture(platform):
    name = platform.controller.start([platform.register("ranking")], PLAN, ANA).rollout
    control = ControlOfPlatform(platform)
    for _ in range(3):
        control.drive()
    console = Console(file=StringIO(), width=140, force_terminal=False)
    seen = SeenRollout.from_json(control.look(name))
    console.print(picture(seen, ["last line"]))
    text = console.file.getvalue()
    for words in (
        "Answers under this step",
        "What the evidence says",
        "wrong answers",
        "for harm",
        "last line",
    ):
        assert words in text
    terminal = Console(file=StringIO(), width=140, force_terminal=True)
    with screen_for(terminal) as screen:
        screen.show(seen, [SeenTransition.from_json(item) for item in control.history(name)])
        screen.trouble("it is away")
    assert "it is away" in terminal.file.getvalue()
    assert "Ctrl-C ends the watching, not the rollout" in terminal.file.getvalue()
