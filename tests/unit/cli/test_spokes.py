"""Spokes as other packages bring them: their metadata and a module in a folder on the path."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.spokes import installed_spokes
from streamrec.contracts.errors import InvalidInputError

HELLO = """
import typer

commands = typer.Typer(help="Advertisements.")

@commands.command("hello")
def hello(name: str = "you") -> None:
    '''Greet.'''
    typer.echo(f"hello {name}")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package: its metadata, and one module of the package's name where source is given."""

    def install_package(package, declarations, source=None):
        folder = tmp_path / package
        metadata = folder / f"{package}-1.2.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text("\n".join(["[streamrec.spokes]", *declarations]))
        if source is not None:
            (folder / f"{package}.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))

    return install_package


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def only_error_line(result):
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in result.output
    return line


def test_an_installed_spoke_is_listed_and_its_only_command_runs(install):
    install("lone_spoke", ["lone = lone_spoke:commands"], HELLO)
    listed = run("--help")
    assert listed.exit_code == 0
    assert "Spokes:" in listed.stdout
    assert "Advertisements." in listed.stdout
    assert run("lone", "hello", "--name", "world").stdout == "hello world\n"


BROKEN = {
    "an error": ("raise ZeroDivisionError('first\\nsecond')", "ZeroDivisionError: first second"),
    "bad syntax": ("def", "SyntaxError: "),
    "a missing package": ("import absent_package", "ModuleNotFoundError: No module named 'absent_package'"),
    "an exit": ("raise SystemExit(0)", "SystemExit: 0"),
    "no such attribute": ("x = 1", "AttributeError: "),
    "not a typer": ("commands = 1", "TypeError: the entry point is of type int, not a typer.Typer"),
    "an option declared twice": (
        "import typer\nfrom typing import Annotated\ncommands = typer.Typer()\n@commands.command()\n"
        "def f(x: Annotated[int, typer.Option('--x'), typer.Option('--y')]): ...\n",
        "Cannot specify multiple",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_spoke_that_cannot_be_loaded_is_named_and_takes_nothing_else_down(install, case):
    source, reason = BROKEN[case]
    module = "broken_" + case.replace(" ", "_")
    install(module, [f"broken = {module}:commands"], source)

    listed = run("--help")
    assert listed.exit_code == 0
    assert f"'broken' ({module}:commands of {module} 1.2)" in only_error_line(listed)
    assert reason in listed.stderr
    for name in ("data", "models", "recommendations"):
        assert f"\n  {name} " in listed.stdout
    assert f"broken           Cannot be loaded ({module} 1.2)" in " ".join(listed.stdout.splitlines())

    for arguments in (["broken"], ["broken", "--help"], ["broken", "train", "-x", "--data", "y"]):
        called = run(*arguments)
        assert called.exit_code == 1, called.output
        assert reason in only_error_line(called)
        assert called.stdout == ""

    other = run("data", "import", "--help")
    assert other.exit_code == 0
    assert other.stderr == ""


def test_debug_shows_what_a_spoke_raised(install):
    install("debugged", ["debugged = debugged:commands"], "1 / 0")
    error = run("--debug", "debugged", "hello").exception
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_entry_point_without_an_attribute_is_no_spoke(install):
    install("whole_module", ["whole = whole_module"], HELLO)
    called = run("whole", "hello")
    assert called.exit_code == 1
    assert "the entry point must be 'module:commands'" in only_error_line(called)


@pytest.mark.parametrize("arguments", [["--help"], ["events", "count"], ["recommendations", "serve"]])
def test_a_name_that_the_hub_has_is_refused_with_both_origins(install, arguments):
    install("thief", ["data = thief:commands"], HELLO)
    result = run(*arguments)
    assert result.exit_code == 2
    line = only_error_line(result)
    assert "'data' (thief:commands of thief 1.2)" in line
    assert "is a command of the hub (services.cli of streamrec)" in line
    assert "uninstall the package" in line


def test_two_spokes_of_one_name_are_refused_with_both_origins(install):
    install("first_ads", ["ads = first_ads:commands"], HELLO)
    install("second_ads", ["ads = second_ads:commands"], HELLO)
    result = run("--help")
    assert result.exit_code == 2
    line = only_error_line(result)
    assert "first_ads:commands of first_ads 1.2" in line
    assert "second_ads:commands of second_ads 1.2" in line


@pytest.mark.parametrize("name", ["Ads", "ad_s", "-ads", "ads-", "a--b", "4ads", "ads.eu", "ad s", "--help"])
def test_names_are_lower_case_words_joined_by_dashes(install, name):
    install("named", [f"{name} = named:commands"], HELLO)
    with pytest.raises(InvalidInputError, match="lower-case words joined by dashes") as raised:
        installed_spokes(())
    assert repr(name) in str(raised.value)
    assert run("events", "count").exit_code == 2


def test_errors_inside_a_spoke_are_reported_like_the_hubs_own(install):
    source = HELLO + (
        "    from streamrec.contracts.errors import NotFoundError\n"
        "    if name == 'lost':\n"
        "        raise NotFoundError('no campaign\\nof that name')\n"
        "    if name == 'lacking':\n"
        "        import absent_package\n"
        "    if name == 'defect':\n"
        "        import failing.absent\n"
    )
    install("failing", ["failing = failing:commands"], source)

    lost = run("failing", "hello", "--name", "lost")
    assert lost.exit_code == 2
    assert only_error_line(lost) == "error: no campaign of that name"

    lacking = run("failing", "hello", "--name", "lacking")
    assert lacking.exit_code == 2
    assert only_error_line(lacking) == (
        "error: the package 'absent_package' is not installed; "
        "install failing 1.2 with all that the spoke 'failing' needs"
    )

    assert isinstance(run("failing", "hello", "--name", "defect").exception, ModuleNotFoundError)
