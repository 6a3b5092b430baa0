"""Versions of the small spoke, and all gates over them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.all_gates import Traffic, run_gates
from streamrec.gates.checks.latency_runs import Turns
from streamrec.gates.contenders import Contender
from streamrec.gates.evaluation_data import EvaluationData
from streamrec.gates.gate_results import gate_of
from streamrec.gates.isolation.in_process_runner import InProcessRunner
from streamrec.gates.request_table import checked_request_table
from streamrec.gates.runner import Enforcement, Isolation
from streamrec.training.training_rows import TrainingRows, label_text
from tests.small_spoke import HERE, SPECIFICATION, made_table, write_artifact

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SHORT = Turns(rounds=2, warm_up=2, at_least=150, at_most=150, seconds=5.0)
ISOLATED = InProcessRunner(Enforcement(*(Isolation.SECCOMP,) * 3, *(Isolation.RESOURCE_LIMITS,) * 2))
"""Runs in this process, as if it were isolated: for tests of what gates decide."""


def contender(folder, subject="shop-clicks@1", predictor="load", weights=(1.0, -1.0), more=""):
    text = SPECIFICATION.replace("small_spoke:load", f"small_spoke:{predictor}") + more
    return Contender(
        subject=subject,
        specification=ModelSpecification.from_yaml(text.encode()),
        artifact=write_artifact(folder / subject / "artifact", weights),
        import_paths=(HERE,),
    )


def judged(candidate, champion=None, *, frame=None, runner=ISOLATED, turns=SHORT):
    table = made_table() if frame is None else frame
    evaluation = EvaluationData(checked_request_table(table, candidate.specification.task))
    return run_gates(candidate, champion, evaluation, Traffic(NOW), runner, SilentProgress(), turns=turns)


def of_gate(report, gate):
    return next(result for result in report.results if gate_of(result) is gate)


def codes(report, gate):
    return [reason.code for reason in of_gate(report, gate).reasons]


def training_rows_of(frame):
    return TrainingRows.of(
        frame["unit"].to_numpy(dtype=object),
        [label_text(label) for label in frame["label"]],
        frame["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[s]").astype(np.int64),
    )
