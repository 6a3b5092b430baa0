"""A small platform whose rollouts are driven, with a clock that tests turn: for tests of the controller."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import Answers, ServedTally, TallyRow
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.specification.rollout_plan import RolloutPlan, RolloutStep
from streamrec.contracts.traffic import Traffic
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.signed_versions import SignedVersions
from streamrec.rollout.analysis import Analysis
from streamrec.rollout.controller import RolloutController
from streamrec.rollout.heartbeats import FileHeartbeats, MemoryHeartbeats
from streamrec.rollout.leadership import MemoryLeadership
from streamrec.rollout.outcomes import MemoryOutcomes
from streamrec.rollout.tallies import FileTallies, MemoryTallies
from streamrec.rollout.told_changes import By
from streamrec.rollout.traffic_changes import champions
from streamrec.rollout.traffic_writer import TrafficWriter
from streamrec.serving.loaded_versions import LoadedVersions
from streamrec.serving.replica import ModelReplica
from tests.promoted import deploy, desk_of, traffic_files

SIGNATURE = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANA = By("ana", ActorRole.SPOKE, "a better model")
OPS = By("olga", ActorRole.PLATFORM, "it looks wrong")
RANKING = "shop.ranking"
PLAN = RolloutPlan(
    steps=tuple(
        RolloutStep(weight_bp=weight, minimum_samples=100, deadline_hours=2.0)
        for weight in (1_000, 5_000, 10_000)
    ),
    minimum_step_minutes=1.0,
    deadline_hours=12.0,
    watch_hours=0.05,
)


def counted(state: RolloutState, evidence: RolloutEvidence, now: datetime) -> Analysis:
    """A plain stand-in for the statistics: enough requests pass, many that go wrong fail."""
    del now
    needed, enough = state.plan.steps[state.step].minimum_samples, True
    for slot in state.slots:
        seen = evidence.slots[slot]
        watched = state.phase is RolloutPhase.WATCH
        step = seen.watch if watched else (seen.steps[-1] if seen.steps else None)
        own = Answers() if step is None else (step.champion if watched else step.challenger)
        if own.asked >= 10 and own.wrong > 0.2 * own.asked:
            why = Reason("harm", f"slots.{slot}", f"{own.wrong} of {own.asked} answers are wrong")
            return Analysis(at=evidence.at, verdict=Verdict.FAILED, reasons=(why,))
        enough = enough and own.asked >= needed
    if enough or state.phase is RolloutPhase.SHADOW:
        return Analysis(at=evidence.at, verdict=Verdict.PASSED)
    few = Reason("too_few", "slots", f"fewer than {needed} requests")
    return Analysis(at=evidence.at, verdict=Verdict.INCONCLUSIVE, reasons=(few,))


def load(fetched):
    content = json.loads((fetched.folder / "model.json").read_text())
    if content == "broken":
        raise ValueError("wrong shape")
    return content


class Gateway:
    """Counts requests as a service does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[tuple, Answers] = {}

    def answer(self, traffic: Traffic | None, requests: int, wrong: set[ModelRef] = frozenset()) -> None:
        """Answer requests in every slot, shared out as the document says."""
        for name, slot in {} if traffic is None else traffic.slots.items():
            held = 0 if slot.holdback is None else slot.holdback.share_bp
            tried = (10_000 - held) * slot.weight_bp // 10_000
            shares = {
                (ServingRole.HOLDBACK, slot.holdback and slot.holdback.version): held,
                (ServingRole.CHALLENGER, slot.challenger): tried,
                (ServingRole.CHAMPION, slot.champion): 10_000 - held - tried,
                (ServingRole.SHADOW, slot.challenger): slot.shadow_bp,
            }
            for (role, version), share in shares.items():
                asked = requests * share // 10_000
                if version is not None and asked:
                    key = (name, role, version, slot.holder, slot.weight_bp)
                    failed = asked if version in wrong else 0
                    self.rows[key] = self.rows.get(key, Answers()) + Answers(asked=asked, failed=failed)

    def tally(self, at: datetime) -> ServedTally:
        return ServedTally(
            self.name, at, tuple(TallyRow(*key, answers) for key, answers in self.rows.items())
        )


class Platform:
    """A workspace with services, replicas and a controller; everything but documents is in memory."""

    def __init__(
        self,
        folder: Path,
        *,
        ledger: Ledger | None = None,
        analyse: Callable[[RolloutState, RolloutEvidence, datetime], Analysis] = counted,
        now: datetime = NOON,
        in_files: bool = False,
    ) -> None:
        self.folder, self.files, self.now = folder, traffic_files(folder), now
        self.registry = MemoryModelRegistry(folder / "cache")
        self.outcomes = MemoryOutcomes()
        self.heartbeats = FileHeartbeats(self.files.heartbeats) if in_files else MemoryHeartbeats()
        self.tallies = FileTallies(self.files.tallies) if in_files else MemoryTallies()
        self.ledger = MemoryLedger(clock=lambda: self.now) if ledger is None else ledger
        self.desk = desk_of(folder, self.registry, self.ledger)
        self.analyse = analyse
        self.replicas: list[ModelReplica] = []
        self.life = 1
        self.gateway = Gateway("gateway-1")
        self.wrong: set[ModelRef] = set()
        self.controller = self.new_controller()
        self.writer = TrafficWriter(
            self.files,
            folder / "keys",
            self.registry,
            self.ledger,
            heartbeats=self.heartbeats,
            clock=lambda: self.now,
            sleep=lambda _: self.follow(),
        )

    def new_controller(self, **parts) -> RolloutController:
        """Another one, as after a restart."""
        return RolloutController(
            self.files,
            self.folder / "keys",
            self.registry,
            parts.pop("ledger", self.ledger),
            self.outcomes,
            **{
                "analyse": self.analyse,
                "heartbeats": self.heartbeats,
                "tallies": self.tallies,
                "leadership": MemoryLeadership(),
                "clock": lambda: self.now,
                **parts,
            },
        )

    def register(self, name: str, content: object = "a model", *, needs=()) -> ModelRef:
        """Register a version and let it pass its gates."""
        artifact = self.folder / f"artifact-{name}"
        artifact.mkdir(exist_ok=True)
        (artifact / "model.json").write_text(json.dumps(content))
        needed = {ref.name: ref for ref in needs}
        spec = ModelSpec(name, SIGNATURE, "d", "s", depends_on=needed, slot=f"shop.{name}")
        ref = self.registry.register(spec, artifact).ref
        deploy(self.desk, [ref])
        return ref

    def replica(self, name: str, role: ServingRole = ServingRole.CHAMPION) -> ModelReplica:
        """Start a replica of a slot."""
        versions = SignedVersions(self.files.versions, self.files.public_keys)

        class Source:
            get = staticmethod(versions.get)
            fetch = self.registry.fetch
            keep_only = self.registry.keep_only

        replica = ModelReplica(
            f"shop.{name}",
            name,
            LoadedVersions(Source(), load, warm_up=lambda _: None, clock=lambda: self.now.timestamp()),
            self.files.open_follower(),
            self.heartbeats,
            role=role,
            replica=f"{name}-{role.value}-{len(self.replicas)}-{self.life}",
            now=lambda: self.now,
            clock=lambda: self.now.timestamp(),
        )
        self.replicas.append(replica)
        replica.follow()
        return replica

    def replicas_of(self, *names: str) -> None:
        """A champion's replica and a challenger's in each slot."""
        for name in names:
            self.replica(name)
            self.replica(name, ServingRole.CHALLENGER)

    def follow(self) -> None:
        for replica in self.replicas:
            replica.follow()

    @property
    def traffic(self) -> Traffic | None:
        published = self.files.open_publisher(self.folder / "keys").published()
        return None if published is None else published.value

    def serving(self) -> dict[str, ModelRef]:
        return champions(self.traffic)

    def pass_time(self, seconds: float = 1.0, requests: int = 0):
        """Let time pass: replicas follow, services answer and count, the controller looks once."""
        self.now += timedelta(seconds=seconds)
        self.follow()
        self.gateway.answer(self.traffic, requests, self.wrong)
        self.tallies.write(self.gateway.tally(self.now))
        report = self.controller.tick()
        self.follow()
        return report

    def until(self, name: str, *phases: RolloutPhase, requests: int = 1_000) -> RolloutState:
        """Let time pass, half a minute a look, until a rollout is in one of some phases."""
        for _ in range(200):
            state = self.controller.book.get(name)
            if state.phase in phases:
                return state
            self.pass_time(30.0, requests)
        state = self.controller.book.get(name)
        raise AssertionError(f"{name} is {state.phase} still: {self.pass_time(1.0).problems}")
