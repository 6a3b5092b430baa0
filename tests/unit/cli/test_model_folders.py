"""`models check` and `models register`: what is wrong is said before anything is registered."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line import composition, judging
from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.registered_versions import registered_contender, write_attachments
from streamrec.registry.memory_registry import MemoryModelRegistry
from tests.judged_versions import ISOLATED, training_rows_of
from tests.small_spoke import SPECIFICATION, made_table, write_artifact

TEXT = SPECIFICATION


@pytest.fixture
def registry(tmp_path, monkeypatch):
    registry = MemoryModelRegistry(tmp_path / "cache", clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: registry)
    monkeypatch.setattr(judging, "open_gate_runner", lambda: ISOLATED)
    monkeypatch.delenv(judging.WAIVER_VARIABLE, raising=False)
    return registry


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    write_artifact(folder / "artifact")
    (folder / "model.yaml").write_text(TEXT)
    made_table(120).to_parquet(folder / "evaluation.parquet", index=False)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def rewrite(folder, before, after):
    text = (folder / "model.yaml").read_text()
    assert before in text
    (folder / "model.yaml").write_text(text.replace(before, after))


def test_a_sound_folder_passes_and_is_registered_with_all_that_it_is_judged_by(registry, folder, tmp_path):
    out = tmp_path / "out.json"
    assert run("check", folder, "--json", out).exit_code == 0
    document = json.loads(out.read_text())
    assert (document["schema"], document["verdict"]) == ("streamrec.model_check.v1", "passed")
    assert [gate["gate"] for gate in document["gates"]] == ["artifact", "validation"]
    assert registry.names() == ()
    result = run("register", folder)
    assert result.exit_code == 0, result.output
    assert "registered shop-clicks@1 for the slot shop.clicks" in result.output
    version = registry.get(ModelRef("shop-clicks", 1))
    assert ModelSpecification.from_json(version.specification).slot == version.slot == "shop.clicks"
    assert [tensor.name for tensor in version.signature.inputs] == ["price", "rank"]
    contender = registered_contender(version, registry)
    assert contender.specification.digest == version.settings_fingerprint
    kept = tmp_path / "kept"
    kept.mkdir()
    write_attachments(version, registry, kept)
    assert (kept / "evaluation.parquet").read_bytes() == (folder / "evaluation.parquet").read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("floor", "flor", "quality.flor: is not a field of this document; did you mean 'floor'?"),
        ("{floor: 0.6}", "{margin: .nan}", "quality.margin: must be a finite number"),
        ("{floor: 0.6}", "{metric: auc}", "quality.metric"),
        ("evaluation.parquet", "elsewhere.csv", "there is no file"),
        ("owner: shop", "owner: shop\noutcome_metric: cliks", "outcome_metric: there is no metric 'cliks'"),
        (
            "no_sensitive_attributes: Requests of this shop come from machines.",
            "fairness: {attributes: [country]}",
            "fairness.attributes.0: names 'country'",
        ),
        ("owner: shop", "owner: shop\nneeds: {retrieval: shop-retrieval}", "needs.retrieval"),
        ("owner: shop", "owner: shop\nlatenci: {}", "did you mean 'latency'"),
    ],
)
@pytest.mark.usefixtures("registry")
def test_a_wrong_specification_is_refused_with_its_path(folder, before, after, words):
    rewrite(folder, before, after)
    result = run("check", folder)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


@pytest.mark.usefixtures("registry")
def test_a_folder_without_a_specification_or_an_artifact_says_what_to_do(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there is no" in run("check", tmp_path / "empty").output
    (folder / "artifact" / "weights.npz").unlink()
    (folder / "artifact").rmdir()
    result = run("check", folder)
    assert result.exit_code == 2
    assert "put the files that training wrote there" in " ".join(result.output.split())


def test_nothing_is_registered_unless_it_passes(registry, folder):
    training_rows_of(made_table(120)).write(folder / "artifact")
    result = run("register", folder)
    assert result.exit_code == 3
    assert "nothing was registered" in result.output
    assert "trained on what it is judged on" in " ".join(result.output.split())
    assert registry.names() == ()


def test_without_isolation_it_is_inconclusive_unless_the_platform_says_so(registry, folder, monkeypatch):
    from streamrec.gates.isolation.in_process_runner import InProcessRunner

    assert registry.names() == ()
    monkeypatch.setattr(judging, "open_gate_runner", InProcessRunner)
    assert run("check", folder).exit_code == 4
    monkeypatch.setenv(judging.WAIVER_VARIABLE, "allowed")
    assert run("check", folder).exit_code == 0
    monkeypatch.setenv(judging.WAIVER_VARIABLE, "yes")
    assert run("check", folder).exit_code == 2


def test_a_version_is_trained_as_its_specification_says(registry, folder, tmp_path):
    assert registry.names() == ()
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.csv").write_text("a")
    rewrite(folder, "owner: shop", "owner: shop\ntraining: {function: 'small_spoke:train'}")
    there = run("train", folder, "--data", data)
    assert there.exit_code == 2
    assert "is there already" in " ".join(there.output.split())
    shutil.rmtree(folder / "artifact")
    result = run("train", folder, "--data", data, "--until", "2026-03-01")
    assert result.exit_code == 0, result.output
    given = json.loads((folder / "artifact" / "given.json").read_text())
    assert given == {"files": ["rows.csv"], "until": "2026-03-01T00:00:00+00:00"}
    assert sorted(path.name for path in folder.iterdir()) == ["artifact", "evaluation.parquet", "model.yaml"]
    assert run("check", folder).exit_code == 0


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("trains_badly", "the loss is not finite"),
        ("trains_nothing", "wrote no file"),
        (None, "training: is missing"),
    ],
)
@pytest.mark.usefixtures("registry")
def test_training_that_went_wrong_leaves_nothing(folder, tmp_path, function, words):
    shutil.rmtree(folder / "artifact")
    if function is not None:
        rewrite(folder, "owner: shop", f"owner: shop\ntraining: {{function: 'small_spoke:{function}'}}")
    result = run("train", folder, "--data", tmp_path)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (folder / "artifact").exists()


def test_an_evaluation_file_that_changed_since_is_not_judged_by(registry, folder, tmp_path):
    assert run("register", folder).exit_code == 0
    version = registry.get(ModelRef("shop-clicks", 1))
    registry.attach(version.ref, "evaluation.parquet", b"PAR1")
    with pytest.raises(ArtifactError, match="register the version again"):
        write_attachments(version, registry, tmp_path)
