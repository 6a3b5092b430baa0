"""Challengers of one running service: brought up, broken in every way, and made champion.

`tests/scenarios/test_broken_challengers.py` holds the long form, under load and with the stages apart too.
"""

from __future__ import annotations

import shutil
import time

import httpx
import pytest

from services.recommendations.contracts.stages import MODEL_NAMES, RANKING, SLOTS
from services.recommendations.gateway.edge.deadlines import TIMEOUT_HEADER
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.events.reader import FileEventReader
from tests.failures.broken_ranking import WAYS, break_as
from tests.failures.challenger_cases import SAID
from tests.failures.challengers import PATIENCE_S, Trials, wait_for
from tests.failures.parts import replicas
from tests.integration.serving.asking import ids, recommend
from tests.integration.serving.conftest import USER_COUNT, Workspace

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

SERVICE_ARGUMENTS = (
    "--together",
    "--replicas",
    "gateway=1",
    "--broken-ranking",
    "--challenger-memory-bytes",
    str(256 * 1024 * 1024),
    "--challengers-stay-s",
    "1",
)
LOOK_S = 0.6
"""A gateway looks at the document every half second."""
USERS = [f"user-{row:02d}" for row in range(USER_COUNT)]
CHAMPION = ModelRef(MODEL_NAMES[RANKING], 1)


@pytest.fixture(scope="module")
def workspace(trained, tmp_path_factory) -> Workspace:
    """With a registry of its own: versions are registered in it."""
    folder = tmp_path_factory.mktemp("challenged")
    for name in ("features", "traffic", "keys", "registry"):
        shutil.copytree(trained.folder / name, folder / name)
    return Workspace(folder, trained.dataset)


@pytest.fixture(scope="module")
def trials(service, workspace) -> Trials:
    assert service.url
    return Trials(workspace)


@pytest.fixture(scope="module")
def challenger(trials) -> ModelRef:
    return trials.register(RANKING)


@pytest.fixture
def on_trial(trials, challenger) -> list[str]:
    """Users of the challenger, which is up and answers well."""
    break_as(trials.files.folder)
    trials.name(RANKING, challenger)
    trials.wait_until_loaded(RANKING, challenger)
    in_force(trials, trials.name(RANKING, challenger, 5_000))
    return trials.users(RANKING, ServingRole.CHALLENGER, USERS)


def in_force(trials, revision) -> None:
    """Wait until the gateway follows a revision; the replicas in its process look as often as it does."""
    wait_for(
        lambda: all(
            (beat.revision or 0) >= revision for beat in trials.heartbeats(RANKING, ServingRole.CHAMPION)
        ),
        f"revision {revision} is followed",
    )
    time.sleep(LOOK_S)


@pytest.fixture
def patient(client) -> httpx.Client:
    """Waits for a second: a machine that is busy is no reason to leave a challenger out."""
    client.headers[TIMEOUT_HEADER] = "1000"
    return client


def ranked_by(client, user) -> int | None:
    """The version that ranked for a user, whose answer is whole."""
    answer = recommend(client, user)
    assert len(set(ids(answer))) == 10
    assert answer["rung"] == "ranked", answer
    return answer["model_versions"].get(RANKING)


def counted(trials, ref, role=ServingRole.CHALLENGER):
    return trials.answers(RANKING, ref, role)


def wait_for_count(trials, ref, name, count, role=ServingRole.CHALLENGER) -> None:
    wait_for(lambda: getattr(counted(trials, ref, role), name) >= count, f"{count} {name} are in the tally")


def ask_until(patient, users, holds) -> set[int | None]:
    """Ask for users in turn until something holds; returns the versions that ranked.

    On a busy machine a request may have no time left to try a challenger: then it is not one that counts.
    """
    versions = set()
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        versions |= {ranked_by(patient, user) for user in users[:2]}
        assert time.monotonic() < deadline_s, "it is never counted"
        time.sleep(0.5)  # a tally is written every second
    return versions


def ask_until_counted(patient, trials, challenger, users, name, more) -> set[int | None]:
    until = getattr(counted(trials, challenger), name) + more
    return ask_until(patient, users, lambda: getattr(counted(trials, challenger), name) >= until)


def wait_until_it_answers(patient, user, challenger) -> None:
    wait_for(lambda: ranked_by(patient, user) == challenger.version, "the challenger answers")


def test_it_is_started_when_it_is_named_and_answers_its_units(patient, service, trials, challenger):
    assert replicas(service, "challenger_ranking") == set()
    trials.name(RANKING, challenger)
    print(f"\n  up and loaded after {trials.wait_until_loaded(RANKING, challenger):.1f} s")
    assert trials.heartbeats(RANKING, ServingRole.CHAMPION)[0].loaded == (CHAMPION,)
    in_force(trials, trials.name(RANKING, challenger, 5_000))
    theirs = set(trials.users(RANKING, ServingRole.CHALLENGER, USERS))
    wait_until_it_answers(patient, min(theirs), challenger)
    by = {user: ranked_by(patient, user) for user in USERS}
    by_challenger = {user for user in USERS if by[user] == challenger.version}
    assert by_challenger <= theirs
    assert len(by_challenger) >= 0.8 * len(theirs) > 0
    wait_for_count(trials, challenger, "asked", len(by_challenger))
    answers = counted(trials, challenger)
    assert sum(answers.latency.values()) == answers.asked - answers.wrong
    wait_for_count(trials, CHAMPION, "asked", len(USERS) - len(theirs), ServingRole.CHAMPION)


@pytest.mark.parametrize("way", WAYS)
def test_what_must_not_be_shown_is_not_shown_and_counts(patient, trials, challenger, on_trial, way):
    break_as(trials.files.folder, answers=way)
    asked = ask_until_counted(patient, trials, challenger, on_trial, "malformed", 1)
    assert asked == {CHAMPION.version}


def test_errors_and_slowness_cost_a_wait_and_nothing_else(patient, trials, challenger, on_trial):
    break_as(trials.files.folder, errors=0.5)
    asked = ask_until_counted(patient, trials, challenger, on_trial, "failed", 2)
    assert asked <= {CHAMPION.version, challenger.version}
    break_as(trials.files.folder, slow_s=1.0)
    assert ask_until_counted(patient, trials, challenger, on_trial, "late", 1) == {CHAMPION.version}


def test_the_death_of_its_process_is_its_own(patient, trials, service, challenger, on_trial):
    wait_until_it_answers(patient, on_trial[0], challenger)
    champions, before = replicas(service, "gateway"), counted(trials, challenger)
    was = replicas(service, "challenger_ranking")
    break_as(trials.files.folder, dies=True)
    asked = ask_until(patient, on_trial, lambda: not was & replicas(service, "challenger_ranking"))
    assert asked == {CHAMPION.version}
    break_as(trials.files.folder)
    wait_for(lambda: counted(trials, challenger).wrong > before.wrong, "its death is counted")
    wait_until_it_answers(patient, on_trial[0], challenger)
    assert replicas(service, "gateway") == champions


def test_a_shadow_is_asked_and_not_shown(patient, trials, workspace, challenger, on_trial):
    assert on_trial
    in_force(trials, trials.name(RANKING, challenger, 0, 10_000))
    asked = ask_until(patient, USERS, lambda: counted(trials, challenger, ServingRole.SHADOW).asked >= 3)
    assert asked == {CHAMPION.version}
    assert counted(trials, challenger, ServingRole.SHADOW).disagreed == 0

    def logged() -> bool:
        predictions = FileEventReader(workspace.folder / "events").snapshot().predictions
        return any(told.role is ServingRole.SHADOW and told.slot == SLOTS[RANKING] for told in predictions)

    wait_for(logged, "what the shadow answered is written down")


@pytest.mark.parametrize("loads", sorted(SAID))
def test_one_that_cannot_be_loaded_says_so_and_harms_nobody(patient, trials, service, on_trial, loads):
    assert on_trial
    champions = replicas(service, "gateway")
    broken = trials.register(RANKING)
    break_as(trials.files.folder, loads=loads)
    revision = trials.name(RANKING, broken)

    def has_said() -> bool:
        beat = trials.challenger(RANKING, revision)
        return beat is not None and any(word in beat.problem.lower() for word in SAID[loads])

    wait_for(has_said, f"its replica says why it cannot load it: {SAID[loads]}")
    assert {ranked_by(patient, user) for user in USERS[:5]} == {CHAMPION.version}
    assert replicas(service, "gateway") == champions


def test_it_becomes_champion_without_a_failed_request(patient, trials, service, challenger, on_trial):
    assert on_trial
    in_force(trials, trials.publish({RANKING: {"weight_bp": 10_000}}, prepare=(challenger,)))
    trials.wait_until_loaded(RANKING, challenger, ServingRole.CHAMPION)
    end = {"champion": challenger, "challenger": None, "weight_bp": 0, "holder": None}
    trials.publish({RANKING: end})
    wait_for(
        lambda: (
            ranked_by(patient, USERS[0]) == challenger.version
            and replicas(service, "challenger_ranking") == set()
        ),
        "the challengers' replica is gone",
    )
    assert {ranked_by(patient, user) for user in USERS} == {challenger.version}
    assert CHAMPION in trials.heartbeats(RANKING, ServingRole.CHAMPION)[0].loaded
    wait_for_count(trials, challenger, "asked", len(USERS), ServingRole.CHAMPION)
