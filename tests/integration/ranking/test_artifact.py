from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.ranking.artifact import SETTINGS_FILE, TABLES_FILE, WEIGHTS_FILE
from services.recommendations.ranking.model import RankingModel
from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.models import ModelSpec
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import scan


@pytest.fixture
def folder(trained: tuple[Path, ModelSpec], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained[0], tmp_path / "copy"))


def test_what_is_saved_again_answers_the_same(model: RankingModel, tmp_path: Path):
    model.save(tmp_path / "again")
    again = RankingModel.load(tmp_path / "again")
    user = UserState("u", history=("i03", "i04"))
    given = Candidates(model.item_ids, np.zeros(len(model.item_ids), dtype=np.float32))
    first, second = model.rank(user, given), again.rank(user, given)
    assert first.item_ids == second.item_ids
    np.testing.assert_array_equal(first.scores, second.scores)


def test_the_registry_accepts_every_file(folder: Path):
    check_formats(folder, scan(folder))


@pytest.mark.parametrize("name", [WEIGHTS_FILE, TABLES_FILE, SETTINGS_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_file_is_refused(folder: Path, name: str, damage: str):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="does not hold a readable ranker"):
        RankingModel.load(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path):
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors["vectors"][0] = np.nan
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(ArtifactError, match="vectors"):
        RankingModel.load(folder)


def test_tables_of_another_catalogue_are_refused(folder: Path):
    with np.load(folder / TABLES_FILE) as arrays:
        changed = dict(arrays.items())
    changed["item_ids"] = changed["item_ids"][:-1]
    np.savez(folder / TABLES_FILE, **changed)
    with pytest.raises(ArtifactError):
        RankingModel.load(folder)


def test_another_version_of_the_features_is_refused(folder: Path):
    document = json.loads((folder / SETTINGS_FILE).read_text())
    document["features"] = document["features"][::-1]
    (folder / SETTINGS_FILE).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="another version"):
        RankingModel.load(folder)
