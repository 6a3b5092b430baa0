from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.models import find_version
from streamrec.command_line import composition
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.memory_registry import MemoryModelRegistry

NAME = "recommendations-ranking"
SLOT = "recommendations.ranking"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    registry = MemoryModelRegistry(tmp_path / "cache", clock=lambda: datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    signature = ModelSignature((TensorSpec("x", "float32", (1,)),), (TensorSpec("y", "float32", (1,)),))
    for number, with_card in enumerate((False, True)):
        artifact = tmp_path / f"artifact-{number}"
        artifact.mkdir()
        (artifact / "settings.json").write_text("{}")
        if with_card:
            (artifact / "model_card.md").write_text("# The card\n")
            (artifact / "model_card.json").write_text('{"name": "the card"}\n')
        spec = ModelSpec(NAME, signature, f"data-{number}", "settings", {"ndcg@10": 0.125})
        version = registry.register(spec, artifact)
    registry.set_alias(version.ref, CHAMPION)
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: registry)
    monkeypatch.setattr(composition, "champion_versions", lambda _workspace: {SLOT: version.ref})
    return registry


def run(*arguments):
    return CliRunner().invoke(app, ["models", *arguments])


@pytest.mark.usefixtures("registry")
def test_the_card_of_the_champion_or_of_a_version_is_printed():
    assert run("card", NAME).stdout == "# The card\n"
    assert run("card", f"{NAME}@2").stdout == "# The card\n"
    assert json.loads(run("card", NAME, "--json").stdout) == {"name": "the card"}


@pytest.mark.usefixtures("registry")
def test_a_version_without_a_card_says_what_to_do():
    result = run("card", f"{NAME}@1")
    assert result.exit_code == 2
    assert f"{NAME}@1 was registered without a model card; train the model again" in result.output


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("recommendations-nothing", NotFoundError),
        (f"{NAME}@9", NotFoundError),
        (f"{NAME}@", InvalidInputError),
        (f"{NAME}@two", InvalidInputError),
        (f"{NAME}@0", InvalidInputError),
        (f"{NAME}@-1", InvalidInputError),
        ("../escape", InvalidInputError),
        ("", InvalidInputError),
    ],
)
def test_names_that_are_nothing_are_refused(registry, model, error):
    with pytest.raises(error):
        find_version(registry, model, dict)


def test_versions_of_every_model_are_listed(registry, tmp_path):
    spec = ModelSpec("ads-click", registry.resolve(NAME).signature, "data", "settings")
    registry.register(spec, tmp_path / "artifact-0")
    text = run("list").stdout
    assert "ads-click@1" in text
    assert f"{NAME}@2" in text
    assert f"{NAME}@1" in text
    assert "champion" in text
    assert "2026-01-02" in text


def test_an_empty_registry_is_said_to_be_empty(tmp_path, monkeypatch):
    empty = MemoryModelRegistry(tmp_path / "cache")
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: empty)
    assert "no version is registered" in run("list").stdout


def test_the_champion_is_what_the_traffic_document_says_and_without_one_it_is_the_newest(registry):
    old, new = ModelRef(NAME, 1), ModelRef(NAME, 2)
    assert find_version(registry, NAME, lambda: {SLOT: old}).ref == old  # an alias that lags says otherwise
    registry.set_alias(old, CHAMPION)
    assert find_version(registry, NAME, lambda: {SLOT: new}).ref == new
    assert find_version(registry, NAME, lambda: {SLOT: ModelRef("another", 1)}).ref == new
    assert find_version(registry, NAME, dict).ref == new


def test_nobody_asks_what_serves_where_a_version_is_named(registry):
    def unanswered():
        raise AssertionError

    assert find_version(registry, f"{NAME}@1", unanswered).ref.version == 1
