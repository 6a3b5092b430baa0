"""The stages before the gates: trained ones pass, spoiled ones are refused for the right reason."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES, RANKING
from services.recommendations.jobs.training import TrainingSettings
from services.recommendations.judging.stage_specifications import stage_specifications
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.retrieval import train as retrieval_training
from services.recommendations.training.histories import rows_seen_by_training
from services.recommendations.training.input import TrainingInput
from streamrec.command_line.judging import judge_versions
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.writer import write_dataset
from streamrec.features.materialization import open_feature_store
from streamrec.gates.all_gates import Traffic, run_gates
from streamrec.gates.checks.latency_runs import Turns
from streamrec.gates.contenders import Contender
from streamrec.gates.evaluation_data import EvaluationData, load_evaluation_data
from streamrec.gates.gate_results import gate_of
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.isolation.in_process_runner import InProcessRunner
from streamrec.gates.needed_versions import needed_versions
from streamrec.gates.skew.evidence import online_user_features
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.mlflow_registry import MlflowModelRegistry
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.training.splits import leave_last_out
from tests.integration.serving.conftest import tiny

WRITTEN_BY_THE_REGISTRY = ("MLmodel", "manifest.json")

BRIEF = Turns(rounds=1, warm_up=1, at_least=5, at_most=5, seconds=0.1)
"""How long an answer takes is not what is tested here."""


def of_sixty_users(specification: ModelSpecification) -> ModelSpecification:
    """The packaged one demands more of a version than so few users can show."""
    return replace(
        specification,
        quality=replace(specification.quality, minimum_units=30),
        skew=replace(specification.skew, minimum_rows=30, differing_share=0.1),
    )


@pytest.fixture(scope="module")
def registry(trained, tmp_path_factory) -> ModelRegistry:
    """The trained versions in a registry of the test's own."""
    source = MlflowModelRegistry(trained.registry)
    target = MemoryModelRegistry(tmp_path_factory.mktemp("cache"))
    for stage in MODEL_STAGES:
        version = source.get(ModelRef(MODEL_NAMES[stage], 1))
        folder = tmp_path_factory.mktemp(stage) / "artifact"
        shutil.copytree(
            source.fetch(version), folder, ignore=shutil.ignore_patterns(*WRITTEN_BY_THE_REGISTRY)
        )
        target.register(described(version), folder)
    return target


def described(version: ModelVersion) -> ModelSpec:
    return ModelSpec(
        version.ref.name,
        version.signature,
        version.data_fingerprint,
        version.settings_fingerprint,
        depends_on=version.depends_on,
        slot=version.slot,
    )


@pytest.fixture(scope="module")
def judge(trained, registry):
    """Runs the gates over a version, in this process: its code is trusted."""
    store = open_feature_store(trained.features)
    tables: dict[str, EvaluationData] = {}

    def contender(version: ModelVersion) -> Contender:
        stage = next(stage for stage, name in MODEL_NAMES.items() if name == version.ref.name)
        specification = of_sixty_users(stage_specifications()[stage])
        needed = needed_versions(specification, version, registry)
        return Contender(
            str(version.ref),
            specification,
            registry.fetch(version),
            version.artifact_digest,
            {role: registry.fetch(one) for role, one in needed.items()},
            trained.folder / "data",
        )

    def run(version: ModelVersion, champion: ModelVersion | None = None) -> GatesReport:
        runner, candidate = InProcessRunner(), contender(version)
        requests = candidate.specification.evaluation.requests
        if requests not in tables:
            tables[requests] = load_evaluation_data(
                candidate.specification, runner, folder=None, data=trained.folder / "data", data_set="tiny"
            )
        return run_gates(
            candidate,
            None if champion is None else contender(champion),
            tables[requests],
            Traffic(datetime.now(UTC), online=lambda units: online_user_features(store, units)),
            runner,
            SilentProgress(),
            turns=BRIEF,
        )

    return run


def of_gate(report: GatesReport, gate: GateName) -> Result:
    return next(result for result in report.results if gate_of(result) is gate)


def codes(result: Result) -> list[str]:
    return [found.code for found in result.reasons]


def first(registry: ModelRegistry, stage: str) -> ModelVersion:
    return registry.get(ModelRef(MODEL_NAMES[stage], 1))


@pytest.mark.parametrize("stage", MODEL_STAGES)
def test_a_trained_stage_passes(registry, judge, stage):
    version = first(registry, stage)
    report = judge(version)
    for gate in (GateName.ARTIFACT, GateName.VALIDATION, GateName.SKEW, GateName.QUALITY):
        assert of_gate(report, gate).verdict is Verdict.PASSED, of_gate(report, gate)
    # It is a first version, and the verdict says so.
    assert codes(of_gate(report, GateName.QUALITY)) == ["judged_by_floor"]
    assert codes(of_gate(report, GateName.SKEW)) == ["features_alone"]


def test_a_version_is_judged_in_isolation_by_what_training_registered_it_with(trained):
    ref = ModelRef(MODEL_NAMES[RANKING], 1)
    workspace = Workspace(trained.folder)
    (report,) = judge_versions(
        workspace, [ref], SilentProgress(), now=datetime.now(UTC), imported=trained.folder / "data"
    )
    assert report.isolation.isolated
    assert report.specification_digest == stage_specifications()[RANKING].digest
    assert report.data_set == "data"
    for gate in (GateName.ARTIFACT, GateName.VALIDATION):
        assert of_gate(report, gate).verdict is Verdict.PASSED, of_gate(report, gate)
    # Sixty users are too few to say that it is good; it is said how many it takes.
    quality = of_gate(report, GateName.QUALITY)
    assert (quality.verdict, codes(quality)) == (Verdict.INCONCLUSIVE, ["too_few_units"])
    assert "100 units would decide it" in quality.reasons[0].message
    assert report.verdict is not Verdict.PASSED
    kept = MlflowModelRegistry(trained.registry).attached(ref, f"gates-{report.at:%Y%m%dt%H%M%S}.json")
    assert kept is not None


def spoiled_ranking(registry: ModelRegistry, folder: Path, spoil) -> ModelVersion:
    """Another version of the ranker, with its item vectors changed."""
    version = first(registry, RANKING)
    source = registry.fetch(version)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*WRITTEN_BY_THE_REGISTRY))
    for file in folder.iterdir():
        file.chmod(0o644)
    spoil(folder)
    return registry.register(described(version), folder)


def shuffled(folder: Path) -> None:
    model = StudentRanker.load(folder)
    order = np.random.default_rng(3).permutation(len(model.item_ids))
    names = [model.item_ids[row] for row in order]
    StudentRanker(tuple(names), model.settings, model.weights, model.segment_table, model.features).save(
        folder
    )


def test_shuffled_weights_are_worse_than_the_champion(registry, judge, tmp_path):
    version = spoiled_ranking(registry, tmp_path / "shuffled", shuffled)
    report = judge(version, champion=first(registry, RANKING))
    quality = of_gate(report, GateName.QUALITY)
    assert (quality.verdict, codes(quality)) == (Verdict.FAILED, ["worse_than_champion"])
    assert of_gate(report, GateName.ARTIFACT).verdict is Verdict.PASSED
    assert report.verdict is Verdict.FAILED


def without_numbers(folder: Path) -> None:
    model = StudentRanker.load(folder)
    broken = replace(model.weights, biases=np.full_like(model.weights.biases, np.nan))
    StudentRanker(model.item_ids, model.settings, broken, model.segment_table, model.features).save(folder)


def test_weights_that_are_no_numbers_are_refused_and_nothing_is_measured(registry, judge, tmp_path):
    report = judge(spoiled_ranking(registry, tmp_path / "nan", without_numbers))
    artifact = of_gate(report, GateName.ARTIFACT)
    assert (artifact.verdict, codes(artifact)) == (Verdict.FAILED, ["does_not_load"])
    assert "finite" in artifact.reasons[0].message
    assert codes(of_gate(report, GateName.QUALITY)) == ["not_run"]


def test_a_training_set_that_holds_the_validation_items_is_found(trained, registry, judge, tmp_path):
    # Two plays more of everybody: the items that were held out are trained on.
    dataset = trained.dataset
    later = [
        (user_id, item_id, dataset.interactions["timestamp"].max() + pd.Timedelta(days=day))
        for user_id in dataset.users["user_id"]
        for day, item_id in enumerate(dataset.catalogue.item_ids[-2:], start=1)
    ]
    added = pd.DataFrame(later, columns=["user_id", "item_id", "timestamp"])
    write_dataset(
        replace(dataset, interactions=pd.concat([dataset.interactions, added], ignore_index=True)),
        tmp_path / "more",
    )
    more = load_dataset(tmp_path / "more")
    training = TrainingInput(more, leave_last_out(more), 7, SilentProgress())
    output = tmp_path / "retrieval"
    output.mkdir()
    spec = retrieval_training.train(training, tiny_retrieval(), output)
    rows_seen_by_training(training.split).write(output)
    report = judge(registry.register(spec, output))
    validation = of_gate(report, GateName.VALIDATION)
    assert validation.verdict is Verdict.FAILED
    assert codes(validation)[0] == "evaluated_on_training_data"
    assert "60 of 60 validation rows" in validation.reasons[0].message
    assert report.verdict is Verdict.FAILED


def tiny_retrieval() -> retrieval_training.RetrievalSettings:
    return tiny(TrainingSettings()).retrieval
