"""Two pairs of eyes, overrides, plans and broken glass, by the commands and with tokens."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.access.identity import Identity
from streamrec.command_line import composition
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.operating_policy import ReviewPolicy
from streamrec.governance.deployment import Actor, settle
from tests.promoted import desk_of, judgement
from tests.unit.rollout.test_traffic_writer import SIGNATURE

# MLflow 3.17 under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

REFUSED = 2


class Office:
    """A workspace with four members of staff and one version."""

    def __init__(self, folder):
        self.place = Workspace(folder / "workspace")
        self.registry = composition.open_registry(self.place)
        artifact = folder / "artifact"
        artifact.mkdir()
        (artifact / "model.json").write_text(json.dumps(1))
        spec = ModelSpec("ranking", SIGNATURE, "d", "s", slot="shop.ranking")
        self.ref = self.registry.register(spec, artifact).ref
        self.tokens = {}
        for name, *options in (
            ("paula", "--role", "platform"),
            ("mira", "--role", "spoke", "--slot", "shop.*", "--role", "reviewer"),
            ("rex", "--role", "reviewer"),
            ("lea", "--role", "responsible-ai"),
        ):
            done = self.run("paula", "access", "add", name, *options)
            assert done.exit_code == 0, done.output
            self.tokens[name] = done.stdout.split()[0]

    def run(self, who, *command):
        return CliRunner().invoke(
            app,
            [*command, "--workspace", str(self.place.root)],
            env={"COLUMNS": "1000", "STREAMREC_TOKEN": self.tokens.get(who)},
        )

    def judged(self, review=None, **verdicts):
        """As when mira has run `models deploy`, and the gates found this."""
        ledger = composition.open_ledger(self.place)
        mira = Actor(Identity("mira", frozenset({ActorRole.SPOKE}), ("shop.*",)), ActorRole.SPOKE, "better")
        found = judgement(self.registry.get(self.ref), review or ReviewPolicy(), **verdicts)
        return settle(desk_of(self.place.root, self.registry, ledger), mira, found)

    def kinds(self):
        ledger = composition.open_ledger(self.place)
        return [entry.kind for entry in ledger.entries(subject=str(self.ref))]


@pytest.fixture
def office(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    return Office(tmp_path)


def test_a_review_is_somebody_elses_and_only_the_platform_promotes(office):
    office.judged(ReviewPolicy(approvals=1))
    ref = str(office.ref)
    assert "mira: better" in office.run("rex", "reviews", "list").output
    early = office.run("paula", "models", "promote", ref, "--reason", "now")
    assert early.exit_code == REFUSED
    assert "awaiting review" in early.output
    for who, why in (("mira", "asked for it"), ("lea", "reviewer"), ("nobody", "STREAMREC_TOKEN")):
        refused = office.run(who, "reviews", "approve", ref, "--reason", "fine")
        assert (refused.exit_code, why in refused.output) == (REFUSED, True), refused.output
    approved = office.run("rex", "reviews", "approve", ref, "--reason", "I read the report")
    assert (approved.exit_code, f"{ref} is eligible" in approved.output) == (0, True), approved.output
    assert "platform" in office.run("mira", "models", "promote", ref, "--reason", "now").output
    promoted = office.run("paula", "models", "promote", ref, "--reason", "approved")
    assert promoted.exit_code == 0, promoted.output
    shown = office.run("rex", "ledger", "show", "--slot", "shop.ranking").output
    assert "rex (reviewer, entry" in shown
    assert "rollout-controller" in shown
    assert "paula" in shown


def test_an_override_is_the_role_responsible_ai_s_and_shows_with_the_version(office):
    office.judged(fairness=Verdict.FAILED)
    ref, grant = str(office.ref), ("--days", "7", "--reason", "the group is mended next week")
    assert "fairness has something against it" in office.run("rex", "remediations", "list").output
    assert "responsible-ai" in office.run("paula", "overrides", "grant", ref, *grant).output
    granted = office.run("lea", "overrides", "grant", ref, *grant)
    assert granted.exit_code == 0, granted.output
    assert office.judged(fairness=Verdict.FAILED).eligible
    assert office.run("paula", "models", "promote", ref, "--reason", "with it").exit_code == 0
    for shown in ("serving", "list"):
        assert "overridden by lea" in " ".join(office.run("rex", "models", shown).output.split())
    number = office.run("rex", "overrides", "list").output.split("ranking@1")[0].split()[-1]
    ended = office.run("lea", "overrides", "end", number, "--reason", "mended")
    assert (ended.exit_code, "override ended" in ended.output) == (0, True), ended.output
    assert "override ended" in office.run("rex", "models", "serving").output


def test_glass_is_broken_by_the_platform_with_a_reason_and_shows(office):
    office.judged(quality=Verdict.FAILED)
    ref = str(office.ref)
    glass = ("models", "promote", ref, "--break-glass")
    assert "platform" in office.run("mira", *glass, "--reason", "now").output
    silent = office.run("paula", *glass)
    assert (silent.exit_code, "reason" in silent.output) == (REFUSED, True), silent.output
    assert EntryKind.BREAK_GLASS_USED not in office.kinds()
    broken = office.run("paula", *glass, "--reason", "the old one answers nonsense")
    assert broken.exit_code == 0, broken.output
    assert office.kinds()[-2:] == [EntryKind.BREAK_GLASS_USED, EntryKind.VERDICT_SIGNED]
    assert "break-glass" in office.run("rex", "models", "serving").output
    assert office.ref == ModelRef("ranking", 1)
