"""All gates over real versions in real isolation."""

from __future__ import annotations

import json

import pytest

from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.checks.artifact import collect_artifact, judge_artifact
from streamrec.gates.contenders import SCORING_LIMITS
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.isolation.subprocess_runner import SubprocessRunner
from streamrec.gates.registered_versions import registered_contender
from streamrec.gates.request_table import checked_request_table
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from tests.judged_versions import contender, judged, of_gate
from tests.small_spoke import made_table


def test_a_sound_version_passes_beside_the_champion(tmp_path):
    report = judged(
        contender(tmp_path, "shop-clicks@2"), contender(tmp_path, "shop-clicks@1"), runner=SubprocessRunner()
    )
    verdicts = {gate: of_gate(report, gate).verdict for gate in GateName}
    assert verdicts == dict.fromkeys(GateName, Verdict.PASSED)
    assert report.verdict is Verdict.PASSED
    assert report.isolation.isolated
    again = GatesReport.from_json(json.loads(json.dumps(report.to_json())))
    assert again.evidence_digests == report.evidence_digests
    latency = of_gate(report, GateName.LATENCY).content["evidence"]
    assert latency["champion"]["ref"] == "shop-clicks@1"
    assert latency["candidate"]["p99_ms"]["high"] < 50


@pytest.mark.parametrize(
    ("predictor", "code", "words"),
    [
        ("answers_at_random", "answers_differ", "seed"),
        ("phones_home", "tried_what_is_refused", "no network"),
        ("dies", "does_not_load", "SIGABRT"),
    ],
)
def test_a_version_that_goes_wrong_in_its_process_is_refused(tmp_path, predictor, code, words):
    candidate = contender(tmp_path, predictor=predictor)
    requests = checked_request_table(made_table(64), candidate.specification.task).validation
    evidence = collect_artifact(candidate, requests, SubprocessRunner(), SCORING_LIMITS)
    result = judge_artifact(evidence, candidate.specification.artifact)
    assert [reason.code for reason in result.reasons] == [code]
    assert words in result.reasons[0].message


def test_a_byte_that_changed_in_the_registry_is_refused_before_anything_is_loaded(tmp_path):
    """Failure case 8, in the files of a real registry; what serves goes on being fetched as it was."""
    registry = MlflowModelRegistry(RegistrySettings.embedded(tmp_path / "registry"))
    versions = []
    for number, weights in enumerate(((1.0, -1.0), (1.0, -0.9))):
        made = contender(tmp_path, f"folder-{number}", weights=weights)
        specification = made.specification
        spec = ModelSpec(
            specification.name,
            ModelSignature(
                (TensorSpec("price", "float64", (-1,)),), (TensorSpec("score", "float64", (-1,)),)
            ),
            "d" * 64,
            f"{number}" * 64,
            slot=specification.slot,
            specification=specification.to_json(),
        )
        versions.append(registry.register(spec, made.artifact))
    champion, candidate = versions
    before = registry.fetch(champion)
    stored = (tmp_path / "registry" / "artifacts").rglob("weights.npz")
    changed = next(path for path in stored if path.read_bytes() != (before / "weights.npz").read_bytes())
    content = bytearray(changed.read_bytes())
    content[-30] ^= 1
    changed.chmod(0o644)
    changed.write_bytes(content)
    report = judged(
        registered_contender(candidate, registry),
        registered_contender(champion, registry),
        runner=_NeverRuns(),
    )
    found = of_gate(report, GateName.ARTIFACT)
    assert [reason.code for reason in found.reasons] == ["files_differ"]
    assert "weights.npz" in found.reasons[0].message
    assert report.verdict is Verdict.FAILED
    assert registry.fetch(champion) == before


class _NeverRuns:
    def run(self, task):
        raise AssertionError(f"{task.program} must not run")
