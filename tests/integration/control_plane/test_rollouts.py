from __future__ import annotations

import json

from streamrec.contracts.rollouts.state import RolloutPhase
from tests.rolled_out import PLAN, RANKING


def start(platform, asked_by, who="sam", **changes):
    second = platform.register("ranking")
    body = {"models": [str(second)], "reason": "better", "plan": PLAN_JSON} | changes
    return second, asked_by(who, "POST", "/v1/rollouts", json=body)


PLAN_JSON = {
    "steps": [
        {"weight_bp": step.weight_bp, "minimum_samples": step.minimum_samples, "deadline_hours": 2.0}
        for step in PLAN.steps
    ],
    "minimum_step_minutes": 1.0,
    "deadline_hours": 12.0,
    "watch_hours": 0.05,
}


def test_a_rollout_is_started_followed_and_taken_back(platform, asked_by):
    second, answer = start(platform, asked_by)
    assert answer.status_code == 201, answer.text
    name = answer.json()["rollout"]
    assert answer.json()["by"] == "sam"
    platform.until(name, RolloutPhase.COMPLETED)
    look = asked_by("viv", "GET", f"/v1/rollouts/{name}").json()
    assert look["state"]["phase"] == "completed"
    assert look["evidence"]["slots"][RANKING]["watch"]["champion"]["asked"] > 0
    history = asked_by("viv", "GET", f"/v1/rollouts/{name}/history").json()["items"]
    assert [one["state"]["phase"] for one in history][-1] == "completed"
    assert history[0]["request"] == "start"
    traffic = asked_by("viv", "GET", "/v1/traffic").json()
    assert traffic["slots"][RANKING]["champion"] == str(second)

    back = asked_by("sam", "POST", f"/v1/slots/{RANKING}/rollback", json={"reason": "users complain"})
    assert back.json()["phase"] == "rolled_back"
    platform.pass_time()
    traffic = asked_by("viv", "GET", "/v1/traffic").json()
    assert traffic["slots"][RANKING]["champion"] == "ranking@1"


def test_events_tell_every_transition_and_end_with_the_rollout(platform, asked_by):
    _, answer = start(platform, asked_by)
    name = answer.json()["rollout"]
    asked_by("sam", "POST", f"/v1/rollouts/{name}/abort", json={"reason": "wrong one"})
    stream = asked_by("viv", "GET", f"/v1/rollouts/{name}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = [
        dict(line.split(": ", 1) for line in event.splitlines())
        for event in stream.text.split("\n\n")
        if event
    ]
    assert [event["event"] for event in events] == ["transition", "transition", "look", "over"]
    assert json.loads(events[1]["data"])["kind"] == "rollout_aborted"
    seen = events[0]["id"]
    rest = asked_by("viv", "GET", f"/v1/rollouts/{name}/events", headers={"last-event-id": seen})
    assert rest.text.count("event: transition") == 1


def test_a_second_rollout_of_the_slot_is_refused(platform, asked_by):
    start(platform, asked_by)
    _, again = start(platform, asked_by)
    assert again.status_code == 409
    assert "is held by the rollout" in again.json()["detail"]


def test_whoever_skips_the_canary_or_breaks_the_glass_decides_for_the_platform(platform, asked_by):
    for extra in ({"without_canary": True, "plan": None}, {"break_glass": True}):
        _, refused = start(platform, asked_by, **extra)
        assert refused.status_code == 403
        assert "platform" in refused.json()["detail"]
    _, allowed = start(platform, asked_by, "olga", without_canary=True, plan=None)
    assert allowed.json()["without_canary"] is True


def test_what_is_wrong_is_named(platform, asked_by):
    second = platform.register("ranking")
    for body, field in (
        ({"models": [], "reason": "r"}, "models"),
        ({"models": [str(second)], "reason": ""}, "reason"),
        ({"models": [str(second)], "reason": "r", "colour": 1}, "colour"),
        ({"models": [str(second)], "reason": "r", "plan": {"steps": []}}, "plan.steps"),
        ({"models": ["ranking@1"], "reason": "r"}, "models"),
        ({"models": ["ranking"], "reason": "r"}, "model"),
    ):
        answer = asked_by("sam", "POST", "/v1/rollouts", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"].startswith(field)
    assert asked_by("sam", "POST", "/v1/rollouts/nobody/abort", json={"reason": "r"}).status_code == 404
    assert asked_by("viv", "GET", "/v1/rollouts/nobody").status_code == 404
    missing = asked_by("sam", "POST", "/v1/rollouts", json={"models": ["ranking@99"], "reason": "r"})
    assert missing.status_code == 404


def test_a_list_is_read_page_by_page(platform, asked_by):
    names = []
    for _ in range(3):
        _, answer = start(platform, asked_by)
        names.append(answer.json()["rollout"])
        asked_by("sam", "POST", f"/v1/rollouts/{names[-1]}/abort", json={"reason": "next"})
    first = asked_by("viv", "GET", "/v1/rollouts?limit=2").json()
    second = asked_by("viv", "GET", f"/v1/rollouts?limit=2&after={first['next']}").json()
    shown = [state["rollout"] for state in first["items"] + second["items"]]
    assert shown == names[::-1]
    assert second["next"] is None


def test_needs_of_a_slot_are_asked_by_a_version_with_a_plan(asked_by):
    for path, said in (
        ("/v1/slots/shop.ranking/needs", "without a specification"),
        ("/v1/slots/shop.nothing/needs", "nothing serves"),
        ("/v1/slots/shop.ranking/needs?model=ranking@9", "ranking@9"),
    ):
        answer = asked_by("viv", "GET", path)
        assert (answer.status_code, said in answer.json()["detail"]) == (404, True)


def test_a_rollout_that_was_ended_is_tried_again(platform, asked_by):
    second = platform.register("ranking")
    first = asked_by(
        "sam", "POST", "/v1/rollouts", json={"models": [str(second)], "reason": "better"}
    ).json()["rollout"]
    assert asked_by("sam", "POST", f"/v1/rollouts/{first}/abort", json={"reason": "no"}).status_code == 200
    again = asked_by("sam", "POST", f"/v1/rollouts/{first}/retry", json={"reason": "mended"})
    assert (again.status_code, again.json()["retries"]) == (201, first)
