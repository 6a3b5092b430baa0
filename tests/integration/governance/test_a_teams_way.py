"""The README's way from a model's folder to a version that serves, line by line as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.main import app

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def lines_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## A team's way onto the platform\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.splitlines()]


def test_the_way_is_ten_lines():
    assert len(lines_of_the_readme()) == 10


@pytest.mark.slow
def test_the_way_leads_from_a_folder_to_a_version_that_serves(tmp_path, monkeypatch):
    for name in ("STREAMREC_TOKEN", "STREAMREC_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    said = {}
    for words in lines_of_the_readme():
        if words[0] == "streamrec":
            done = CliRunner().invoke(app, words[1:], env={"COLUMNS": "300"})
            assert done.exit_code == 0, done.output
            said[words[2] if words[1] == "models" else f"{words[1]} {words[2]}"] = done.output
        elif words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
        elif words[0] == "cat":
            assert len((ROOT / words[1]).read_text().splitlines()) == 10
        else:
            assert words == [".", ".venv/bin/activate"]
    assert "registered ads-clicks@1 for the slot ads.clicks" in said["register"]
    for gate in ("artifact", "validation", "skew", "quality", "fairness", "latency"):
        assert f"  {gate}: passed" in said["deploy"]
    assert "absolute floors decided" in said["deploy"]
    assert "ads-clicks@1 is eligible" in said["deploy"]
    assert "ads.clicks: nothing -> ads-clicks@1" in said["deploy"]
    assert "watch" in said["rollouts watch"]
    assert said["rollouts watch"].splitlines()[-1] == "passed"
    assert "ads-clicks@1" in said["serving"]
    assert "eligible" in said["serving"]
    for kind in ("model_registered", "gates_judged", "verdict_signed"):
        assert kind in said["ledger show"]
