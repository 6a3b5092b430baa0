"""Runs all gates over a version: collects the evidence of each in isolation, and lets each judge.

What damns everything else comes first: files that must not be loaded are not loaded, and a version without
usable answers is not measured. A gate that was not run for such a reason is inconclusive, never passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Final

import pandas as pd

from streamrec.contracts.errors import ArtifactError, InvalidInputError, StreamRecError
from streamrec.contracts.progress import Progress
from streamrec.contracts.results import Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.checks.artifact import collect_artifact, judge_artifact
from streamrec.gates.checks.latency import judge_latency
from streamrec.gates.checks.latency_runs import DEFAULT_TURNS, Turns, collect_latency
from streamrec.gates.checks.validation import collect_validation, judge_validation
from streamrec.gates.contenders import SCORING_LIMITS, Contender, ask_beside, joined
from streamrec.gates.evaluation_data import EvaluationData, features_as_trained
from streamrec.gates.fairness.evidence import collect_fairness
from streamrec.gates.fairness.item_groups import read_item_groups
from streamrec.gates.fairness.judgement import judge_fairness
from streamrec.gates.gate_results import gate_error, gate_result, reason
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.predictions import Predictions
from streamrec.gates.quality.evidence import collect_quality
from streamrec.gates.quality.judgement import judge_quality
from streamrec.gates.runner import Enforcement, GateRunner, GateTask, GateTaskResult
from streamrec.gates.skew.evidence import OnlineFeatures, SkewSources, collect_skew
from streamrec.gates.skew.judgement import judge_skew
from streamrec.gates.skew.logged_requests import LoggedRequests

_AT_ONCE: Final = 2
"""Processes beside each other: candidate and champion, or two for one; what is timed is timed alone."""


def nothing_logged() -> LoggedRequests:
    """Of a slot that nobody has asked yet."""
    columns = {"request_id": pd.Series(dtype=object), "unit": pd.Series(dtype=object)}
    requests = pd.DataFrame({**columns, "at": pd.Series(dtype="datetime64[us, UTC]")})
    return LoggedRequests(0, requests, pd.DataFrame(), {}, {})


@dataclass(frozen=True, eq=False, slots=True)
class Traffic:
    """What was served, for the skew gate.

    Attributes:
        now: The moment of it; the report's time.
        logged: Requests of the slot with their features, out of the event log.
        online: What the online store gives now; None where there is no store.
    """

    now: datetime
    logged: LoggedRequests = field(default_factory=nothing_logged)
    online: OnlineFeatures | None = None


def run_gates(
    candidate: Contender,
    champion: Contender | None,
    evaluation: EvaluationData,
    traffic: Traffic,
    runner: GateRunner,
    progress: Progress,
    *,
    isolation_waived: bool = False,
    turns: Turns = DEFAULT_TURNS,
) -> GatesReport:
    """Run every gate.

    Args:
        candidate: The version that is judged.
        champion: The version that serves in its slot; None where none does.
        evaluation: What both are judged on.
        traffic: What was served.
        runner: Where versions run.
        progress: Hears of every gate and how it ended.
        isolation_waived: The platform's setting allows gates where nothing isolates them.
        turns: How long requests are timed.

    Returns:
        The report. Nothing is raised for a gate that cannot be run: it is an error or inconclusive in it.
    """
    watched = _WatchedRunner(runner)
    run = _Run(candidate, champion, evaluation, traffic, watched, progress, turns)
    results = run.all_results()
    return GatesReport(
        subject=candidate.subject,
        at=traffic.now,
        specification_digest=candidate.specification.digest,
        artifact_digest=candidate.artifact_digest,
        champion=None if champion is None else champion.subject,
        data_set=evaluation.data_set or "",
        isolation=watched.weakest,
        isolation_waived=isolation_waived,
        results=results,
    )


class _WatchedRunner:
    """Remembers how every run was isolated."""

    def __init__(self, runner: GateRunner) -> None:
        self._runner = runner
        self._lock = Lock()
        self._seen: list[Enforcement] = []

    def run(self, task: GateTask) -> GateTaskResult:
        result = self._runner.run(task)
        with self._lock:
            self._seen.append(result.enforcement)
        return result

    @property
    def weakest(self) -> Enforcement:
        return Enforcement.weakest(*self._seen)


@dataclass(frozen=True, eq=False, slots=True)
class _Answers:
    """Of both versions to the evaluation requests; why there are none, where there are none."""

    candidate: Predictions | None
    problem: str
    champion: Predictions | None
    champion_problem: str


@dataclass(frozen=True, eq=False)
class _Run:
    candidate: Contender
    champion: Contender | None
    evaluation: EvaluationData
    traffic: Traffic
    runner: GateRunner
    progress: Progress
    turns: Turns

    def all_results(self) -> tuple[Result, ...]:
        requests = self.evaluation.judged(self.candidate.specification)
        if requests.empty:
            return (self._judged(GateName.VALIDATION, self._validation),)
        artifact = self._judged(GateName.ARTIFACT, lambda: self._artifact(requests))
        validation = self._judged(GateName.VALIDATION, self._validation)
        if artifact.verdict is not Verdict.PASSED:
            others = (GateName.SKEW, GateName.QUALITY, GateName.FAIRNESS, GateName.LATENCY)
            return (artifact, validation, *(self._not_run(gate) for gate in others))
        answers = self._answers(requests)
        return (
            artifact,
            validation,
            self._judged(GateName.SKEW, lambda: self._skew(answers)),
            self._judged(GateName.QUALITY, lambda: self._quality(answers)),
            self._judged(GateName.FAIRNESS, lambda: self._fairness(answers)),
            self._judged(GateName.LATENCY, lambda: self._latency(requests)),
        )

    def _judged(self, gate: GateName, judge: Callable[[], Result]) -> Result:
        """Run one gate, and say how it ended; what it stumbles over is its result, and ends nothing else."""
        self.progress.start(f"gate {gate}", 1)
        began = time.monotonic()
        try:
            result = judge()
        except StreamRecError as error:
            result = gate_error(gate, self.candidate.subject, str(error))
        told = "" if result.verdict is Verdict.PASSED else f": {result.reasons[0].message}"
        self.progress.finish(f"{result.verdict} in {time.monotonic() - began:.1f} s{told}")
        return result

    def _not_run(self, gate: GateName) -> Result:
        return gate_result(
            gate,
            self.candidate.subject,
            {},
            inconclusive=[reason("not_run", "artifact", "not run: the artifact gate has not passed")],
        )

    def _artifact(self, requests: pd.DataFrame) -> Result:
        evidence = collect_artifact(self.candidate, requests, self.runner, SCORING_LIMITS)
        return judge_artifact(evidence, self.candidate.specification.artifact)

    def _validation(self) -> Result:
        evidence = collect_validation(self.candidate, self.evaluation.table, self.evaluation.training)
        return judge_validation(evidence, self.candidate.specification.evaluation)

    def _answers(self, requests: pd.DataFrame) -> _Answers:
        contenders = [one for one in (self.candidate, self.champion) if one is not None]
        self.progress.start("answering the evaluation requests", len(requests))
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            each = _AT_ONCE // len(contenders)
            found = list(pool.map(lambda one: self._predictions(one, requests, each), contenders))
        self.progress.finish(f"{len(requests)} requests")
        (candidate, problem), (champion, champion_problem) = (*found, (None, ""))[:2]
        return _Answers(candidate, problem, champion, champion_problem)

    def _predictions(
        self, contender: Contender, requests: pd.DataFrame, processes: int
    ) -> tuple[Predictions | None, str]:
        try:
            answers = ask_beside(contender, requests, self.runner, processes)
            return joined(answers, requests, contender.specification), ""
        except (InvalidInputError, ArtifactError) as error:
            return None, str(error)

    def _skew(self, answers: _Answers) -> Result:
        candidate = self.candidate
        specification = candidate.specification
        sources = SkewSources(
            logged=self.traffic.logged,
            trained=features_as_trained(
                specification, self.runner, self.evaluation.data, candidate.import_paths
            ),
            answers=lambda table: joined(
                ask_beside(candidate, table, self.runner, _AT_ONCE), table, specification
            ),
            online=self.traffic.online,
            units=self.evaluation.table.validation["unit"].tolist(),
            now=self.traffic.now,
        )
        evidence = collect_skew(candidate.subject, specification, sources, answers.candidate)
        return judge_skew(evidence, specification.skew)

    def _quality(self, answers: _Answers) -> Result:
        candidate, champion = self.candidate, self.champion
        if answers.candidate is None:
            return self._answers_refused(GateName.QUALITY, answers)
        if champion is not None and answers.champion is None:
            found = reason(
                "champion_not_measured",
                "champion",
                f"{champion.subject}, which serves, did not answer: {answers.champion_problem}",
            )
            return gate_result(GateName.QUALITY, candidate.subject, {}, inconclusive=[found])
        evidence = collect_quality(
            candidate.subject,
            candidate.specification,
            answers.candidate,
            answers.champion,
            None if champion is None else champion.subject,
        )
        return judge_quality(evidence, candidate.specification.quality)

    def _fairness(self, answers: _Answers) -> Result:
        candidate, data = self.candidate, self.evaluation.data
        people = candidate.specification.people(self.evaluation.data_set)
        if people.fairness is None:
            why = people.no_sensitive_attributes
            noted = [reason("no_sensitive_attributes", "no_sensitive_attributes", why)]
            return gate_result(GateName.FAIRNESS, candidate.subject, {}, noted=noted)
        if answers.candidate is None:
            return self._answers_refused(GateName.FAIRNESS, answers)
        policy, quality = people.fairness, candidate.specification.quality
        if policy.threshold is None and candidate.specification.task is Task.CLASSIFICATION:
            policy = replace(policy, threshold=quality.threshold)  # one answer, one threshold
        groups = read_item_groups(data, policy, of_units=answers.candidate.groups)
        evidence = collect_fairness(
            candidate.subject, answers.candidate, policy, item_groups=groups, at=quality.at
        )
        return judge_fairness(evidence)

    def _answers_refused(self, gate: GateName, answers: _Answers) -> Result:
        found = reason("answers_refused", "predictor", f"its answers cannot be used: {answers.problem}")
        return gate_result(gate, self.candidate.subject, {}, failed=[found])

    def _latency(self, requests: pd.DataFrame) -> Result:
        evidence = collect_latency(
            self.candidate, self.champion, requests, self.runner, SCORING_LIMITS, self.turns
        )
        return judge_latency(evidence, self.candidate.specification.latency)
