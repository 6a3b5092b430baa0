from __future__ import annotations

import os
import signal
import time

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.models import ModelRef
from streamrec.serving.load_attempts import FileLoadAttempts

REF, OTHER = ModelRef("ranking", 2), ModelRef("ranking", 3)


def die_while_loading(attempts) -> None:
    """In a process of its own."""
    pid = os.fork()
    if pid == 0:
        with attempts.loading(REF):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.fixture
def attempts(tmp_path) -> FileLoadAttempts:
    return FileLoadAttempts(tmp_path / "attempts", remedy="; give it more memory")


def test_what_processes_died_of_is_refused_with_a_remedy(attempts):
    die_while_loading(attempts)
    with attempts.loading(OTHER):
        pass
    die_while_loading(attempts)
    said = r"2 processes .* have died.*; give it more memory"
    with pytest.raises(ArtifactError, match=said), attempts.loading(REF):
        pytest.fail("it is loaded")
    with attempts.loading(OTHER):
        pass


def test_a_success_and_an_error_are_no_deaths(attempts):
    for _ in range(5):
        with pytest.raises(RuntimeError), attempts.loading(REF):
            raise RuntimeError("damaged")
        with attempts.loading(REF):
            pass
    die_while_loading(attempts)
    with attempts.loading(REF):
        pass
    die_while_loading(attempts)
    with attempts.loading(REF):
        pass


def test_who_loads_it_at_the_same_time_is_not_taken_for_dead(attempts):
    with attempts.loading(REF), attempts.loading(REF), attempts.loading(REF), attempts.loading(REF):
        pass


def test_deaths_are_forgotten_after_a_while(attempts, tmp_path):
    die_while_loading(attempts)
    die_while_loading(attempts)
    later = FileLoadAttempts(tmp_path / "attempts", clock=lambda: time.time() + 3_600.0)
    with later.loading(REF):
        pass


def test_a_folder_that_cannot_be_written_stops_no_loading(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with FileLoadAttempts(tmp_path / "file" / "attempts").loading(REF):
        pass
    assert "not counted" in caplog.text
