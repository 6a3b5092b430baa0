"""The artifact gate: what must not be loaded is not loaded, and what answers wrongly is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.registry.manifest import write_manifest
from tests.judged_versions import codes, contender, judged, of_gate


class _NeverRuns:
    def run(self, task):
        raise AssertionError(f"{task.program} must not run")


def flip_a_byte(artifact):
    content = bytearray((artifact / "weights.npz").read_bytes())
    content[-30] ^= 1
    (artifact / "weights.npz").write_bytes(content)


def hide_a_folder(artifact):
    (artifact / ".git").mkdir()
    (artifact / ".git" / "x.py").write_text("import os")


TAMPERING = {
    "a flipped byte": flip_a_byte,
    "a file added": lambda artifact: (artifact / "more.json").write_text("{}"),
    "a file renamed": lambda artifact: (artifact / "weights.npz").rename(artifact / "other.npz"),
    "a file cut short": lambda artifact: (artifact / "weights.npz").write_bytes(b"PK"),
    "a hidden folder": hide_a_folder,
    "a link": lambda artifact: (artifact / "link.npz").symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("tampering", TAMPERING)
def test_files_that_are_not_the_registered_ones_are_refused_before_anything_is_loaded(tmp_path, tampering):
    """Failure case 8."""
    candidate = contender(tmp_path)
    candidate = replace(candidate, artifact_digest=write_manifest(candidate.artifact))
    TAMPERING[tampering](candidate.artifact)
    assert codes(judged(candidate, runner=_NeverRuns()), GateName.ARTIFACT) == ["files_differ"]


def pickle_in_npz(artifact):
    np.savez(artifact / "weights.npz", weights=np.array([{"a": 1}], dtype=object))


FORBIDDEN = {
    "a pickle": lambda artifact: (artifact / "model.pkl").write_bytes(b"\x80\x04."),
    "a pickle inside an npz": pickle_in_npz,
    "a pickle by another name": lambda artifact: (artifact / "model.npz").write_bytes(b"\x80\x04."),
    "python code": lambda artifact: (artifact / "code.py").write_text("raise SystemExit"),
}


@pytest.mark.parametrize("content", FORBIDDEN)
def test_content_that_could_run_is_refused_before_anything_is_loaded(tmp_path, content):
    """Failure case 24."""
    candidate = contender(tmp_path)
    FORBIDDEN[content](candidate.artifact)
    assert codes(judged(candidate, runner=_NeverRuns()), GateName.ARTIFACT) == ["format_refused"]


MLMODEL = "flavors:\n  python_function:\n    loader_module: os\n    code: code\n"


def test_a_loader_module_is_refused_before_anything_is_loaded(tmp_path):
    """Failure case 24: in a folder that was not registered yet, and in one that somebody registered."""
    candidate = contender(tmp_path)
    (candidate.artifact / "MLmodel").write_text(MLMODEL)
    assert codes(judged(candidate, runner=_NeverRuns()), GateName.ARTIFACT) == ["files_differ"]
    registered = replace(candidate, artifact_digest=write_manifest(candidate.artifact))
    report = judged(registered, runner=_NeverRuns())
    assert codes(report, GateName.ARTIFACT) == ["format_refused"]
    assert "python_function" in of_gate(report, GateName.ARTIFACT).reasons[0].message


@pytest.mark.parametrize(
    ("predictor", "code", "words"),
    [
        ("answers_nan", "answers_refused", "finite"),
        ("answers_too_little", "does_not_load", "1 rows to 16 requests"),
        ("answers_something_else", "does_not_load", "no column 'score'"),
        ("answers_at_random", "answers_differ", "seed"),
        ("cannot_be_loaded", "does_not_load", "another release"),
        ("not_written_yet", "does_not_load", "not_written_yet"),
        ("reads_the_labels", "does_not_load", "labels.json"),
    ],
)
def test_a_version_that_cannot_answer_is_refused_and_nothing_else_is_measured(
    tmp_path, predictor, code, words
):
    report = judged(contender(tmp_path, predictor=predictor))
    assert codes(report, GateName.ARTIFACT) == [code]
    assert words in of_gate(report, GateName.ARTIFACT).reasons[0].message
    assert report.verdict is Verdict.FAILED
    for gate in (GateName.SKEW, GateName.QUALITY, GateName.FAIRNESS, GateName.LATENCY):
        assert codes(report, gate) == ["not_run"]
        assert of_gate(report, gate).verdict is Verdict.INCONCLUSIVE


def test_a_larger_artifact_than_allowed_is_refused(tmp_path):
    candidate = contender(tmp_path, more="artifact: {maximum_mib: 1}\n")
    np.savez(candidate.artifact / "weights.npz", weights=np.array([1.0, -1.0]), ballast=np.zeros(140_000))
    assert codes(judged(candidate), GateName.ARTIFACT) == ["too_large"]


def test_a_damaged_champion_is_told_and_nothing_is_compared_with_it(tmp_path):
    champion = replace(contender(tmp_path, "shop-clicks@1"), problem="weights.npz differs")
    report = judged(contender(tmp_path, "shop-clicks@2"), champion)
    assert codes(report, GateName.QUALITY) == ["champion_not_measured"]
    assert "weights.npz differs" in of_gate(report, GateName.QUALITY).reasons[0].message
    assert codes(report, GateName.LATENCY) == ["champion_not_measured"]
    assert report.verdict is Verdict.INCONCLUSIVE
