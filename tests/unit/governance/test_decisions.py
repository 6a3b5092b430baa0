from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamrec.access.identity import Identity
from streamrec.contracts.errors import (
    ArtifactError,
    ConflictError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from streamrec.contracts.governance.model_verdict import Basis
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelSpec
from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import ReviewPolicy
from streamrec.documents.key_folder import KeyFolder
from streamrec.governance.audits import record_audit
from streamrec.governance.deployment import Actor, break_glass, revoke, settle
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Standing
from streamrec.governance.judgement import few
from streamrec.governance.people import (
    close_remediation,
    end_override,
    grant_override,
    review,
    waiting_reviews,
)
from streamrec.governance.records import read_records
from streamrec.governance.remediations import open_first, remediations_of
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.signed_verdicts import SignedVerdicts
from tests.promoted import judgement
from tests.unit.rollout.test_traffic_writer import SIGNATURE

DAY = timedelta(days=1)
TWO = ReviewPolicy(approvals=2, roles=(ActorRole.REVIEWER, ActorRole.RESPONSIBLE_AI))


def by(name, role, reason="because", *, token=True):
    return Actor(Identity(name, frozenset({role}), by_token=token), role, reason)


AUTHOR = by("ada", ActorRole.SPOKE)
LEAD = by("rai", ActorRole.RESPONSIBLE_AI)
ONCALL = by("pat", ActorRole.PLATFORM)


class Office:
    def __init__(self, folder):
        self.now = datetime(2026, 11, 28, tzinfo=UTC)
        self.ledger = MemoryLedger(clock=lambda: self.now)
        registry = MemoryModelRegistry(folder / "cache")
        artifact = folder / "artifact"
        artifact.mkdir()
        (artifact / "model.json").write_text("{}")
        spec = ModelSpec("clicks", SIGNATURE, "d", "s", slot="shop.clicks")
        self.version = registry.register(spec, artifact)
        self.ref = self.version.ref
        self.desk = Desk(self.ledger, registry, folder / "versions", folder / "keys", lambda: self.now)
        self.verdicts = SignedVerdicts(folder / "versions", KeyFolder(folder / "keys").public_folder)

    def settle(self, who=AUTHOR, **found):
        return settle(self.desk, who, judgement(self.version, **found))

    def kinds(self):
        return [entry.kind for entry in self.ledger.entries()]

    def standing(self):
        return self.desk.eligibility(self.ref).standing


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


def test_what_nobody_judged_is_not_eligible(office):
    found = office.desk.eligibility(office.ref)
    assert found.standing is Standing.UNJUDGED
    assert "streamrec models deploy clicks@1" in found.way_back


def test_passed_gates_make_a_signed_verdict_over_exactly_the_files(office):
    found = office.settle()
    assert found.eligible
    assert office.kinds() == [EntryKind.GATES_JUDGED, EntryKind.VERDICT_SIGNED]
    verdict = office.verdicts.check(office.version)
    assert verdict.basis is Basis.GATES
    assert "model.json" in {file.path for file in verdict.files}
    assert set(verdict.gates) == set(GateName)
    assert verdict.isolation["network"] == "seccomp"


@pytest.mark.parametrize("gate", GateName)
@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_any_gate_that_did_not_pass_blocks(office, gate, verdict):
    found = office.settle(**{gate.value: verdict})
    assert found.standing is Standing.BLOCKED
    assert any(gate.value in why for why in found.why)
    with pytest.raises(NotFoundError, match="no verdict"):
        office.verdicts.check(office.version)


def test_a_later_judgement_that_fails_takes_eligibility_away(office):
    office.settle()
    assert office.settle(quality=Verdict.FAILED).standing is Standing.BLOCKED


def test_an_override_lets_fairness_alone_through_shows_and_ends_by_itself(office):
    blocked = office.settle(fairness=Verdict.INCONCLUSIVE)
    assert blocked.standing is Standing.BLOCKED
    grant_override(office.desk, LEAD, office.ref, GateName.FAIRNESS, office.now + DAY)
    assert office.standing() is Standing.BLOCKED  # nothing is signed before it is asked for again
    found = office.settle(fairness=Verdict.INCONCLUSIVE)
    assert found.eligible
    assert "fairness overridden by rai until 2026-11-29" in found.marks[0]
    (override,) = office.verdicts.check(office.version).overrides
    assert (override.gate, override.by) == (GateName.FAIRNESS, "rai")
    office.now += DAY
    found = office.desk.eligibility(office.ref)
    assert found.standing is Standing.OVERRIDE_ENDED
    assert found.marks == ()
    assert office.settle(fairness=Verdict.FAILED).standing is Standing.BLOCKED


def test_an_override_of_fairness_covers_nothing_else(office):
    office.settle(fairness=Verdict.FAILED, quality=Verdict.FAILED)
    grant_override(office.desk, LEAD, office.ref, GateName.FAIRNESS, office.now + DAY)
    assert office.settle(fairness=Verdict.FAILED, quality=Verdict.FAILED).standing is Standing.BLOCKED
    unisolated = dict.fromkeys(("network", "files", "processes", "memory", "time"), "not enforced")
    found = office.settle(fairness=Verdict.FAILED, isolation=unisolated)
    assert found.standing is Standing.BLOCKED


def test_an_override_is_ended_before_its_time(office):
    office.settle(fairness=Verdict.FAILED)
    grant_override(office.desk, LEAD, office.ref, GateName.FAIRNESS, office.now + DAY)
    office.settle(fairness=Verdict.FAILED)
    number = office.desk.eligibility(office.ref).overrides[0].number
    office.now += timedelta(hours=1)
    assert end_override(office.desk, LEAD, number).standing is Standing.OVERRIDE_ENDED
    with pytest.raises(NotFoundError, match="overrides list"):
        end_override(office.desk, LEAD, number)


def test_an_override_needs_a_reason_an_end_a_cause_and_somebody_else(office):
    grant = lambda who=LEAD, gate=GateName.FAIRNESS, until=DAY: grant_override(  # noqa: E731
        office.desk, who, office.ref, gate, office.now + until
    )
    with pytest.raises(InvalidInputError, match="nothing to answer for"):
        grant()
    office.settle(fairness=Verdict.FAILED, quality=Verdict.FAILED)
    with pytest.raises(InvalidInputError, match="gate"):
        grant(gate=GateName.QUALITY)
    with pytest.raises(InvalidInputError, match="90 days"):
        grant(until=timedelta(days=91))
    with pytest.raises(InvalidInputError, match="90 days"):
        grant(until=timedelta(0))
    with pytest.raises(InvalidInputError, match="reason"):
        grant(by("rai", ActorRole.RESPONSIBLE_AI, " "))
    with pytest.raises(PermissionDeniedError, match="ada registered"):
        grant(by("ada", ActorRole.RESPONSIBLE_AI))
    with pytest.raises(PermissionDeniedError, match="token of their own"):
        grant(by("owner", ActorRole.RESPONSIBLE_AI, token=False))
    assert EntryKind.OVERRIDE_GRANTED not in office.kinds()


def test_a_review_takes_as_many_other_people_as_the_policy_asks_for(office):
    assert office.settle(review=TWO).standing is Standing.AWAITING_REVIEW
    (waiting,) = waiting_reviews(office.desk)
    assert (waiting.found.ref, waiting.asked_by) == (office.ref, "ada")
    approve = lambda who: review(office.desk, who, office.ref, approve=True)  # noqa: E731
    with pytest.raises(PermissionDeniedError, match="ada registered"):
        approve(by("ada", ActorRole.REVIEWER))
    with pytest.raises(PermissionDeniedError, match="token of their own"):
        approve(by("owner", ActorRole.REVIEWER, token=False))
    with pytest.raises(PermissionDeniedError, match="none of them"):
        approve(ONCALL)
    with pytest.raises(InvalidInputError, match="reason"):
        approve(by("bob", ActorRole.REVIEWER, ""))
    assert approve(by("bob", ActorRole.REVIEWER)).standing is Standing.AWAITING_REVIEW
    with pytest.raises(InvalidInputError, match="approved clicks@1 before"):
        approve(by("bob", ActorRole.REVIEWER))
    assert approve(LEAD).eligible
    assert waiting_reviews(office.desk) == []


def test_approvals_are_of_the_verdict_that_was_looked_at(office):
    one = ReviewPolicy(approvals=1)
    office.settle(review=one)
    assert review(office.desk, by("bob", ActorRole.REVIEWER), office.ref, approve=True).eligible
    assert office.settle(review=one).standing is Standing.AWAITING_REVIEW


def test_whoever_registered_it_may_not_review_it_though_another_asked(office):
    office.ledger.append(AUTHOR.decides(EntryKind.MODEL_REGISTERED, office.ref))
    office.settle(by("eve", ActorRole.SPOKE), review=ReviewPolicy(approvals=1))
    for name in ("ada", "eve"):
        with pytest.raises(PermissionDeniedError, match="somebody else"):
            review(office.desk, by(name, ActorRole.REVIEWER), office.ref, approve=True)


def test_a_rejected_version_waits_for_nothing_until_it_is_asked_for_again(office):
    one = ReviewPolicy(approvals=1)
    office.settle(review=one)
    found = review(office.desk, by("bob", ActorRole.REVIEWER, "no"), office.ref, approve=False)
    assert (found.standing, found.why) == (Standing.REJECTED, ("bob rejected it: no",))
    with pytest.raises(InvalidInputError, match="waits for no review"):
        review(office.desk, LEAD, office.ref, approve=True)
    assert office.settle(review=one).standing is Standing.AWAITING_REVIEW


def test_a_failed_audit_opens_one_plan_that_is_overdue_before_all_others(office):
    office.settle(fairness=Verdict.FAILED)
    office.settle(fairness=Verdict.FAILED)
    plans = remediations_of(read_records(office.ledger))
    assert [(plan.owner, plan.closed_at) for plan in plans] == [("shop", None)]
    assert "fairness has something against it" in plans[0].what
    assert not plans[0].overdue(office.now)
    late = plans[0].due
    assert plans[0].overdue(late)
    closed = close_remediation(office.desk, LEAD, plans[0].number)
    assert closed.number == plans[0].number
    office.now += DAY
    office.settle(fairness=Verdict.FAILED)
    both = open_first(remediations_of(read_records(office.ledger)), late + DAY)
    assert [plan.overdue(late + DAY) for plan in both] == [True, False]
    with pytest.raises(NotFoundError, match="remediations list"):
        close_remediation(office.desk, LEAD, plans[0].number)


@pytest.mark.parametrize("found", [{"quality": Verdict.FAILED}, {"fairness": Verdict.INCONCLUSIVE}])
def test_what_is_not_shown_to_be_unfair_needs_no_plan(office, found):
    office.settle(**found)
    assert office.kinds() == [EntryKind.GATES_JUDGED]


def test_many_reasons_are_told_in_short():
    assert few(["a", "b", "c"]) == "a; b; c"
    assert few(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more, which the report has"


def test_broken_glass_needs_a_reason_is_in_the_ledger_and_shows_until_gates_pass(office):
    with pytest.raises(InvalidInputError, match="reason"):
        break_glass(office.desk, by("pat", ActorRole.PLATFORM, ""), office.ref)
    office.settle(quality=Verdict.FAILED)
    found = break_glass(office.desk, by("pat", ActorRole.PLATFORM, "fire"), office.ref)
    assert (found.standing, found.eligible, found.marks) == (Standing.BREAK_GLASS, False, ("break-glass",))
    assert office.kinds()[-2:] == [EntryKind.BREAK_GLASS_USED, EntryKind.VERDICT_SIGNED]
    assert office.verdicts.check(office.version).basis is Basis.BREAK_GLASS
    assert office.settle(quality=Verdict.FAILED).marks == ("break-glass",)
    found = office.settle()
    assert (found.eligible, found.marks) == (True, ())


def test_no_glass_is_broken_for_what_is_eligible(office):
    office.settle()
    assert break_glass(office.desk, ONCALL, office.ref).eligible
    assert EntryKind.BREAK_GLASS_USED not in office.kinds()


def test_a_revoked_verdict_counts_no_longer(office):
    with pytest.raises(InvalidInputError, match="no verdict"):
        revoke(office.desk, ONCALL, office.ref)
    office.settle()
    assert revoke(office.desk, ONCALL, office.ref).standing is Standing.REVOKED
    with pytest.raises(ArtifactError, match="revoked by pat: because"):
        office.verdicts.check(office.version)
    office.now += timedelta(seconds=1)  # no two verdicts are of the same moment
    assert office.settle().eligible
    office.verdicts.check(office.version)


def test_what_cannot_be_written_down_is_not_signed(office, monkeypatch):
    def full(_decisions):
        raise DependencyError("disk full")

    monkeypatch.setattr(office.ledger, "append_all", full)
    for attempt in (office.settle, lambda: break_glass(office.desk, ONCALL, office.ref)):
        with pytest.raises(DependencyError, match="disk full"):
            attempt()
    with pytest.raises(NotFoundError):
        office.verdicts.get(office.ref)


def test_gates_that_judged_other_files_sign_nothing(office):
    found = judgement(office.version)
    object.__setattr__(found, "artifact_digest", "0" * 64)
    with pytest.raises(ConflictError, match="somebody changed its row"):
        settle(office.desk, AUTHOR, found)
    assert office.kinds() == []


@pytest.mark.parametrize(("verdict", "opened"), [(Verdict.FAILED, True), (Verdict.INCONCLUSIVE, False)])
def test_a_failed_audit_of_a_slot_opens_one_plan_of_its_team(office, verdict, opened):
    result = Result("streamrec.fairness_audit.v1", verdict, (Reason("unfair", "a", "half as many"),), {})
    assert record_audit(office.desk, LEAD, "shop.ranking", result) is opened
    assert record_audit(office.desk, LEAD, "shop.ranking", result) is False
    plans = remediations_of(read_records(office.ledger, subject="shop.ranking"))
    assert [(plan.owner, plan.what) for plan in plans] == [("shop", "half as many")] * opened
    kinds = [entry.kind for entry in office.ledger.entries(subject="shop.ranking")]
    assert kinds.count(EntryKind.AUDIT_RECORDED) == 2
