from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.cli.main import app


@pytest.fixture
def movielens(tmp_path):
    folder = tmp_path / "movielens"
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n1,One (1999),Drama\n2,Two (2001),Comedy\n")
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,1,4.0,1000\n1,2,5.0,2000\n2,1,4.5,x\n3,9,4.0,3000\n"
    )
    return folder


def test_an_import_passes_and_says_what_it_quarantined_and_why(movielens, tmp_path):
    file = tmp_path / "import.json"
    arguments = ["data", "import", "movielens", str(movielens), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--json", str(file)])
    assert done.exit_code == 0, done.output
    document = json.loads(file.read_text())
    assert (document["schema"], document["verdict"]) == ("streamrec.data_import.v1", "passed")
    assert [reason["code"] for reason in document["reasons"]] == ["quarantined", "quarantined"]
    for reason in document["reasons"]:
        _, position, _, cause = reason["path"].split(".")
        assert document["files"][int(position)]["quarantined"][cause] == 1
        assert reason["message"].startswith("1 of 4 rows of ratings.csv are quarantined: ")
    last = done.stdout.splitlines()[-1]
    assert last == "passed: " + "; ".join(reason["message"] for reason in document["reasons"])


def test_a_clean_import_has_nothing_to_add(movielens, tmp_path):
    (movielens / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,1000\n1,2,5.0,2000\n")
    done = CliRunner().invoke(
        app, ["data", "import", "movielens", str(movielens), "--output", str(tmp_path / "o")]
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "passed"


def test_a_folder_that_cannot_be_used_is_wrong_input_and_nothing_is_written(tmp_path):
    file = tmp_path / "import.json"
    arguments = ["data", "import", "neutral", str(tmp_path / "nowhere"), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--json", str(file)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert not file.exists()
