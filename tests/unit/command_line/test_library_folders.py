from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamrec.command_line.library_folders import LibraryFolders, library_folders
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, WorkspaceOption

FOLDERS = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH")


def compile_folder(environment) -> Path:
    """As PyTensor reads its flags: at commas, quotes as in a shell, the last of a name counts."""
    words = shlex.shlex(environment["PYTENSOR_FLAGS"], posix=True)
    words.whitespace, words.whitespace_split = ",", True
    return Path(dict(word.split("=", 1) for word in words)["base_compiledir"])


@pytest.mark.parametrize("name", ["plain", 'a,b "c" \\d=e %20', "ö"])
def test_every_library_writes_below_the_folder_whatever_its_name(tmp_path, name):
    environment = dict.fromkeys(FOLDERS, "/elsewhere")
    LibraryFolders(environment).use(tmp_path / name)
    for place in (*(Path(environment[variable]) for variable in FOLDERS), compile_folder(environment)):
        assert place.is_relative_to(tmp_path / name)
    assert not (tmp_path / name).exists()
    assert environment["DO_NOT_TRACK"] == environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_other_flags_of_pytensor_are_kept_and_a_folder_named_there_is_overridden(tmp_path):
    environment = {"PYTENSOR_FLAGS": "floatX=float32,base_compiledir=/elsewhere"}
    folders = LibraryFolders(environment)
    folders.use(tmp_path / "before")
    folders.use(tmp_path / "workspace")
    assert compile_folder(environment) == tmp_path / "workspace" / "pytensor"
    assert environment["PYTENSOR_FLAGS"].startswith("floatX=float32,")
    assert "before" not in environment["PYTENSOR_FLAGS"]


def test_a_command_that_is_told_its_workspace_has_libraries_write_there(tmp_path, monkeypatch):
    app = typer.Typer()

    @app.command()
    def show(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
        typer.echo(workspace)

    monkeypatch.chdir(tmp_path)
    environment: dict[str, str] = {}
    folders = LibraryFolders(environment)
    for arguments, root in ((["--workspace", "mine"], "mine"), ([], "var")):
        assert CliRunner().invoke(app, arguments, obj=folders).stdout.strip() == root
        assert compile_folder(environment) == tmp_path / root / "library_caches" / "pytensor"


def test_a_command_without_a_workspace_leaves_nothing_behind(tmp_path, monkeypatch):
    for variable in (*FOLDERS, "PYTENSOR_FLAGS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "")  # so that it is as before after the test
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with library_folders():
        place = Path(os.environ["MPLCONFIGDIR"])
        assert place.is_relative_to(tmp_path)
        place.mkdir(parents=True)
    assert list(tmp_path.iterdir()) == []
