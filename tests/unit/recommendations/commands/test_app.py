from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.recommendations.commands.app import commands
from services.recommendations.commands.train import Stage
from services.recommendations.training.input import TRAINED_MODEL_NAMES

PYPROJECT = Path(__file__).resolve().parents[4] / "pyproject.toml"

COMMANDS = {
    (): ("train", "evaluate", "hand-over", "serve", "index", "exposure", "world"),
    ("index",): ("tune",),
    ("exposure",): ("report", "control"),
    ("world",): ("generate", "closed-loop"),
}


@pytest.mark.parametrize("group", COMMANDS, ids=lambda group: " ".join(group) or "recommendations")
def test_help_lists_every_command(group):
    result = CliRunner().invoke(commands, [*group, "--help"])
    assert result.exit_code == 0
    for command in COMMANDS[group]:
        assert command in result.stdout


def test_train_offers_every_stage():
    assert {stage.value for stage in Stage} == {
        "all",
        *(name.replace("_", "-") for name in TRAINED_MODEL_NAMES),
    }


def test_the_installed_package_declares_the_spokes_of_pyproject():
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["streamrec.spokes"]
    installed = distribution("streamrec").entry_points.select(group="streamrec.spokes")
    assert {each.name: each.value for each in installed} == declared, "install the checkout again"
