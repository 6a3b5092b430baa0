"""What an isolated program cannot do: each of these programs does it for real."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamrec.gates.isolation.subprocess_runner import SubprocessRunner
from streamrec.gates.runner import GateTask, Isolation, SandboxLimits, TaskEnd

HERE = Path(__file__).parent
MIB = 1024**2
LIMITS = SandboxLimits(memory_bytes=512 * MIB, cpu_s=20, wall_s=30.0, output_bytes=20 * MIB)


@pytest.fixture
def run(tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("as it was")
    output = tmp_path / "output"
    output.mkdir()

    def run_program(name, limits=LIMITS, **arguments):
        shutil.rmtree(output)
        output.mkdir()
        task = GateTask(
            f"hostile_programs:{name}", arguments, {"given": given}, output, limits, import_paths=(HERE,)
        )
        return SubprocessRunner().run(task)

    return run_program


@pytest.fixture
def enforced(run):
    """How this kernel lets programs be isolated."""
    return run("behaves").enforcement


@pytest.fixture
def _files_kept(enforced):
    if enforced.files is Isolation.NOT_ENFORCED:
        pytest.skip("this kernel has no Landlock")


@pytest.fixture
def _processes_kept(enforced):
    if enforced.processes is Isolation.NOT_ENFORCED:
        pytest.skip("this kernel or machine has no filter of system calls")


def test_a_program_that_behaves_gets_all_it_needs_and_nothing_more(run, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for programs")
    result = run("behaves", number=1)
    assert (result.end, result.problem) == (TaskEnd.COMPLETED, "")
    assert result.answer["arguments"] == {"number": 1}
    assert result.answer["threads"] == [1]
    assert "AWS_SECRET_ACCESS_KEY" not in result.answer["environment"]
    assert result.answer["home"] != str(Path.home())
    assert not Path(result.answer["home"]).exists()
    assert (tmp_path / "output" / "written.txt").read_text() == "as it was"
    assert result.log == "said aloud\n"
    assert result.peak_memory_bytes > MIB
    assert result.enforcement.isolated
    assert result.enforcement.network in (Isolation.NAMESPACES, Isolation.SECCOMP)


def test_no_packet_leaves(run):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        result = run("opens_a_socket", port=server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.end in (TaskEnd.REFUSED, TaskEnd.RAISED)


@pytest.mark.usefixtures("_processes_kept")
def test_no_local_socket_is_reached(run, tmp_path):
    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(0.2)
        result = run("opens_a_unix_socket", path=str(path))
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.end is TaskEnd.REFUSED


@pytest.mark.parametrize("name", ["looks_up_a_name", "raises", "answers_nonsense"])
def test_what_a_program_raises_is_told_in_one_line(run, name):
    result = run(name)
    assert result.end in (TaskEnd.RAISED, TaskEnd.REFUSED)
    assert result.problem
    assert "\n" not in result.problem


@pytest.mark.usefixtures("_processes_kept")
@pytest.mark.parametrize("name", ["forks", "starts_a_shell", "lifts_its_limits"])
def test_no_other_process_and_no_higher_limit(run, name):
    result = run(name)
    assert result.end in (TaskEnd.REFUSED, TaskEnd.RAISED)
    assert result.wall_s < 10


def test_memory_is_bounded(run):
    result = run("eats_memory")
    assert result.end is TaskEnd.MEMORY_EXCEEDED
    assert result.peak_memory_bytes <= LIMITS.memory_bytes


def test_computing_is_bounded(run):
    result = run("computes_for_ever", limits=SandboxLimits(LIMITS.memory_bytes, 1, 30.0, MIB))
    assert result.end is TaskEnd.TIME_EXCEEDED
    assert "1 s of computing" in result.problem


def test_the_clock_is_bounded(run):
    began = time.monotonic()
    result = run("sleeps_for_ever", limits=SandboxLimits(LIMITS.memory_bytes, 20, 0.5, MIB))
    assert result.end is TaskEnd.TIME_EXCEEDED
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["writes_one_large_file", "writes_many_files"])
def test_what_is_written_is_bounded(run, name):
    result = run(name)
    assert result.end is TaskEnd.OUTPUT_EXCEEDED
    assert result.wall_s < 20


@pytest.mark.usefixtures("_files_kept")
def test_secrets_are_not_read(run, tmp_path):
    home = tmp_path / ".ssh"
    home.mkdir()
    (home / "id_ed25519").write_text("a private key")
    for path in (
        home / "id_ed25519",
        Path("/etc/hostname"),
        Path("/proc/1/environ"),
        HERE.parents[2] / "README.md",
    ):
        if path.exists():
            result = run("reads", path=str(path))
            assert result.end is TaskEnd.REFUSED, path


@pytest.mark.usefixtures("_files_kept")
def test_nothing_but_its_output_is_changed(run, tmp_path):
    target = tmp_path / "somebody's file"
    target.write_text("as it was")
    assert run("writes", path=str(target)).end is TaskEnd.REFUSED
    assert run("changes_its_input").end is TaskEnd.REFUSED
    assert target.read_text() == (tmp_path / "given.txt").read_text() == "as it was"


def test_a_flood_of_text_is_cut(run):
    result = run("prints_a_lot")
    assert result.completed
    assert len(result.log) <= 16_384


def test_a_death_is_told_from_an_answer(run):
    killed = run("kills_itself")
    assert killed.end is TaskEnd.KILLED
    assert "SIGKILL" in killed.problem
    silent = run("leaves_without_a_word")
    assert silent.end is TaskEnd.RAISED
    assert "before it gave an answer" in silent.problem


@pytest.mark.usefixtures("_processes_kept")
def test_no_other_process_is_signalled(run):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        result = run("kills_another", process=other.pid)
        assert other.poll() is None
        other.kill()
    assert result.end in (TaskEnd.REFUSED, TaskEnd.RAISED)


@pytest.mark.usefixtures("_files_kept")
def test_a_program_cannot_say_how_it_was_isolated(run):
    result = run("says_that_it_was_isolated")
    assert result.enforcement.files is Isolation.LANDLOCK


@pytest.mark.usefixtures("_processes_kept")
def test_a_kernel_that_allows_no_namespaces_still_has_no_network(run, monkeypatch):
    """As in a container whose profile refuses namespaces: they are refused here before the program starts."""
    monkeypatch.setattr(
        "streamrec.gates.isolation.subprocess_runner._PROGRAM", HERE / "without_namespaces.py"
    )
    result = run("behaves")
    assert result.completed
    assert result.enforcement.network is Isolation.SECCOMP


def test_an_empty_network_keeps_packets_without_any_filter(run, enforced, monkeypatch):
    if enforced.network is not Isolation.NAMESPACES:
        pytest.skip("this kernel allows no user namespaces")
    monkeypatch.setattr("streamrec.gates.isolation.subprocess_runner._PROGRAM", HERE / "without_seccomp.py")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        result = run("opens_a_socket", port=server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.end in (TaskEnd.RAISED, TaskEnd.REFUSED)
    assert result.enforcement.network is Isolation.NAMESPACES
    assert result.enforcement.processes is Isolation.NOT_ENFORCED


RUN_FOR_EVER = """
import sys
from pathlib import Path
from streamrec.gates.isolation.subprocess_runner import SubprocessRunner
from streamrec.gates.runner import GateTask
here, output = map(Path, sys.argv[1:])
SubprocessRunner().run(GateTask("hostile_programs:sleeps_for_ever", {}, {}, output, import_paths=(here,)))
"""


def children_of(process):
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []


def wait_until(holds, timeout_s=20.0):
    ends = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_program_ends_with_whoever_asked_for_it(tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    command = [sys.executable, "-c", RUN_FOR_EVER, str(HERE), str(output)]
    with subprocess.Popen(command) as asking:
        wait_until(lambda: children_of(asking.pid))
        (program,) = children_of(asking.pid)
        status = Path(f"/proc/{program}/status")
        wait_until(lambda: "Seccomp:\t2" in status.read_text())  # it has isolated itself and runs
        asking.kill()
    wait_until(lambda: not status.exists() or "State:\tZ" in status.read_text())
