from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.contracts.errors import DependencyError

ROOT = Path(__file__).resolve().parents[3]

COMMANDS = {
    (): ("demo", "data", "features", "models", "events", "recommendations"),
    ("data", "import"): ("movielens", "neutral"),
    ("features",): ("apply", "materialize"),
    ("models",): ("list", "card"),
    ("events",): ("count", "compact"),
}


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.mark.parametrize("group", COMMANDS, ids=lambda group: " ".join(group) or "streamrec")
def test_help_lists_every_command(runner, group):
    result = runner.invoke(app, [*group, "--help"])
    assert result.exit_code == 0
    for command in COMMANDS[group]:
        assert command in result.stdout


def test_an_unknown_command_is_told_what_is_near_and_what_is_installed(runner):
    typed = runner.invoke(app, ["recomendations", "train"])
    assert typed.exit_code == 2
    assert "Did you mean 'recommendations' or 'remediations'?" in typed.stderr
    former = runner.invoke(app, ["train", "all"])
    assert former.exit_code == 2
    assert "No such command 'train'. Spokes installed here: recommendations" in former.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommendations", "evaluate", "--data", "missing", "--json", "out.json"],
        ["recommendations", "train", "all", "--data", "missing"],
        ["data", "import", "movielens", "missing", "--output", "out"],
        ["data", "import", "neutral", "missing", "--output", "out"],
        ["features", "materialize", "--data", "missing"],
        ["demo", "--data", "missing"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_a_bad_folder_is_one_line_and_exit_code_2(runner, tmp_path, monkeypatch, arguments):
    missing = str(tmp_path / "nowhere")
    arguments = [missing if argument == "missing" else argument for argument in arguments]
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.output


def test_debug_keeps_the_error(runner, tmp_path):
    result = runner.invoke(app, ["--debug", "features", "materialize", "--data", str(tmp_path / "nowhere")])
    assert type(result.exception).__name__ == "DataFolderError"


def test_a_movielens_folder_is_met_with_the_import_it_needs(runner, tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    result = runner.invoke(app, ["features", "materialize", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert f"streamrec data import movielens {tmp_path}" in result.stderr


def test_an_error_of_several_lines_becomes_one(runner, monkeypatch):
    def fail(_folder):
        raise DependencyError("first\n  second")

    monkeypatch.setattr("streamrec.command_line.composition.load_data_folder", fail)
    result = runner.invoke(app, ["features", "materialize", "--data", "x"])
    assert result.stderr == "error: first second\n"
    assert result.exit_code == 1  # a dependency that does not answer is nobody's wrong input


def test_a_missing_package_names_the_extra_and_a_defect_keeps_its_traceback(runner, monkeypatch):
    def lacks(name):
        def fail(_folder):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return fail

    monkeypatch.setattr("streamrec.command_line.composition.load_data_folder", lacks("torch"))
    result = runner.invoke(app, ["features", "materialize", "--data", "x"])
    assert result.exit_code == 2
    assert "torch" in result.stderr
    assert "pip install 'streamrec[serving,training,governance]'" in result.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"serving", "training"} <= set(project["optional-dependencies"])

    monkeypatch.setattr("streamrec.command_line.composition.load_data_folder", lacks("services.gone"))
    assert isinstance(
        runner.invoke(app, ["features", "materialize", "--data", "x"]).exception, ModuleNotFoundError
    )


def test_the_workspace_comes_from_the_environment_unless_named(runner, tmp_path, monkeypatch):
    seen = []

    def note(workspace):
        seen.append(workspace.root)
        raise DependencyError("stop here")

    monkeypatch.setattr("streamrec.command_line.composition.feature_settings", note)
    environment = {"STREAMREC_WORKSPACE": str(tmp_path / "a")}
    runner.invoke(app, ["features", "apply"], env=environment)
    runner.invoke(app, ["features", "apply", "--workspace", str(tmp_path / "b")], env=environment)
    runner.invoke(app, ["features", "apply"], env={"STREAMREC_WORKSPACE": None})
    assert seen == [tmp_path / "a", tmp_path / "b", Path("var")]


HEAVY = ("numpy", "pandas", "pyarrow", "torch", "mlflow", "ray", "feast", "matplotlib", "pymc")
SPOKE = "services.recommendations.commands.app"


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [(["--help"], (*HEAVY, "pydantic")), (["data", "import", "--help"], (*HEAVY, SPOKE))],
    ids=["help of all", "help of one group"],
)
def test_help_imports_no_heavy_library_and_a_spoke_only_to_list_it(arguments, unwanted):
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from services.cli.main import app\n"
        f"assert CliRunner().invoke(app, {arguments!r}).exit_code == 0\n"
        f"print([name for name in {unwanted!r} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)])}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 30
