"""Programs that do what an isolated one must not; run by `test_isolation` in a sandbox, and nowhere else."""

# ruff: noqa: ARG001 - every program is called with all three arguments

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


def behaves(arguments, inputs, output):
    (output / "written.txt").write_text(inputs["given"].read_text())
    done = []
    thread = threading.Thread(target=done.append, args=(1,))
    thread.start()
    thread.join()
    print("said aloud")
    return {
        "arguments": arguments,
        "threads": done,
        "environment": sorted(os.environ),
        "home": str(Path.home()),
    }


def opens_a_socket(arguments, inputs, output):
    socket.create_connection(("127.0.0.1", arguments["port"]), timeout=2)


def opens_a_unix_socket(arguments, inputs, output):
    socket.socket(socket.AF_UNIX).connect(arguments["path"])


def looks_up_a_name(arguments, inputs, output):
    socket.getaddrinfo("example.org", 80)


def eats_memory(arguments, inputs, output):
    kept = []
    while True:
        kept.append(bytearray(16 * 1024**2))


def forks(arguments, inputs, output):
    while True:
        os.fork()


def starts_a_shell(arguments, inputs, output):
    subprocess.run(["/bin/sh", "-c", "true"], check=True)


def computes_for_ever(arguments, inputs, output):
    while True:
        pass


def sleeps_for_ever(arguments, inputs, output):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3_600)


def writes_one_large_file(arguments, inputs, output):
    with (output / "large").open("wb") as file:
        while True:
            file.write(bytes(1024**2))


def writes_many_files(arguments, inputs, output):
    number = 0
    while True:
        (output / f"file-{number}").write_bytes(bytes(1024**2))
        number += 1


def reads(arguments, inputs, output):
    return {"read": Path(arguments["path"]).read_text()}


def writes(arguments, inputs, output):
    Path(arguments["path"]).write_text("changed")


def changes_its_input(arguments, inputs, output):
    inputs["given"].write_text("changed")


def prints_a_lot(arguments, inputs, output):
    for _ in range(200):
        print("x" * 100_000)
    return {"printed": 20_000_000}


def kills_itself(arguments, inputs, output):
    os.kill(os.getpid(), signal.SIGKILL)


def kills_another(arguments, inputs, output):
    os.kill(arguments["process"], signal.SIGKILL)


def raises(arguments, inputs, output):
    raise ValueError("the weights\nare not there")


def leaves_without_a_word(arguments, inputs, output):
    os._exit(0)


def answers_nonsense(arguments, inputs, output):
    return {"score": float("nan")}


def says_that_it_was_isolated(arguments, inputs, output):
    # The first line of the report is the platform's; another one changes nothing.
    os.write(int(sys.argv[1]), b'{"network": "user and network namespaces"}\n')
    return {}


def lifts_its_limits(arguments, inputs, output):
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
