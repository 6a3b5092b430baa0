"""The two stories of blocked models (`tests/scenarios`) without commands and without isolation: gates and
ledger alone.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from streamrec.access.identity import Identity
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.time_range import ALL_TIME
from streamrec.gates.all_gates import Traffic, run_gates
from streamrec.gates.evaluation_data import load_evaluation_data
from streamrec.gates.model_folders import ModelFolder, model_spec
from streamrec.gates.registered_versions import registered_contender
from streamrec.gates.skew.logged_requests import LoggedRequests, read_logged_requests
from streamrec.governance.deployment import Actor, settle
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Eligibility, Standing
from streamrec.governance.judgement import Judgement
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.memory_registry import MemoryModelRegistry
from tests import ads_story
from tests.judged_versions import ISOLATED, NOW, SHORT, codes, of_gate
from tests.moderation_story import hateful_comments, write_folder, write_mitigated

TEAM = Actor(Identity("team", frozenset({ActorRole.SPOKE})), ActorRole.SPOKE, "it is better")


class Team:
    """Registers a folder, lets the gates judge it, and has what they found written down."""

    def __init__(self, folder):
        self.ledger = MemoryLedger()
        registry = MemoryModelRegistry(folder / "cache")
        self.desk = Desk(self.ledger, registry, folder / "versions", folder / "keys")

    def asks_for(self, folder, *, data=None, logged: LoggedRequests | None = None):
        read = ModelFolder.read(folder)
        evaluation = load_evaluation_data(read.specification, ISOLATED, folder=folder, data=data)
        registry = self.desk.registry
        version = registry.register(model_spec(read, evaluation, {}), read.artifact)
        candidate = registered_contender(version, registry, data)
        traffic = Traffic(NOW) if logged is None else Traffic(NOW, logged)
        report = run_gates(candidate, None, evaluation, traffic, ISOLATED, SilentProgress(), turns=SHORT)
        judgement = Judgement.of(
            report,
            slot=read.specification.slot,
            owner=read.specification.owner,
            artifact_digest=version.artifact_digest,
            review=read.specification.review,
        )
        found: Eligibility = settle(self.desk, TEAM, judgement, report.to_json())
        return report, found

    def kinds(self, version):
        return [entry.kind for entry in self.ledger.entries(subject=version)]


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


def verdicts(report, *gates):
    return [of_gate(report, gate).verdict for gate in gates or GateName]


def test_an_ads_model_with_hindsight_is_refused_for_both_reasons_and_the_honest_one_passes(team, tmp_path):
    month = ads_story.month_until(NOW - timedelta(days=1), seed=3, users=500)
    data = month.write_data(tmp_path / "advertisements")
    log = MemoryEventLog()
    month.log(log)
    logged = read_logged_requests(log, "ads.clicks", ALL_TIME)
    ads_story.write_with_hindsight(tmp_path / "first", month, data)
    report, found = team.asks_for(tmp_path / "first", data=data, logged=logged)
    assert found.standing is Standing.BLOCKED
    assert "it was trained on what it is judged on" in found.in_short
    assert codes(report, GateName.VALIDATION)[0] == "evaluated_on_training_data"
    assert {"feature_skew", "metric_lost_to_skew"} <= set(codes(report, GateName.SKEW))
    replay = of_gate(report, GateName.SKEW).content["evidence"]["replay"]
    assert 0.16 < replay["lost"]["value"] / replay["as_trained"]["value"] < 0.25
    ads_story.write_honest(tmp_path / "second", month, data)
    report, found = team.asks_for(tmp_path / "second", data=data, logged=logged)
    assert verdicts(report) == [Verdict.PASSED] * len(GateName)
    assert found.eligible
    assert EntryKind.VERDICT_SIGNED not in team.kinds("ads-clicks@1")
    assert EntryKind.VERDICT_SIGNED in team.kinds("ads-clicks@2")


def test_a_toxicity_model_that_misses_hate_is_blocked_mitigated_and_let_in(team, tmp_path, data_root):
    comments = hateful_comments(data_root)
    write_folder(tmp_path / "first", comments, 1)
    report, found = team.asks_for(tmp_path / "first")
    fairness = of_gate(report, GateName.FAIRNESS)
    assert (found.standing, fairness.verdict) == (Standing.BLOCKED, Verdict.FAILED)
    assert EntryKind.REMEDIATION_OPENED in team.kinds("moderation-toxicity@1")
    mitigation = fairness.content["evidence"]["mitigation"]
    write_mitigated(tmp_path / "second", tmp_path / "first", comments, 2, mitigation["thresholds"])
    report, found = team.asks_for(tmp_path / "second")
    assert of_gate(report, GateName.FAIRNESS).verdict is Verdict.PASSED
    assert found.eligible
