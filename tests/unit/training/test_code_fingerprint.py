"""The fingerprint of the code that trains a model: everything that is imported on the way, nothing else."""

import sys

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.training.code_fingerprint import (
    code_fingerprint,
    imported_modules,
    module_source,
)

SOURCES = {
    "__init__.py": "",
    "train.py": (
        "from typing import TYPE_CHECKING\n"
        "from toy_spoke import near\n"
        "if TYPE_CHECKING:\n    import toy_spoke.shape\n"
    ),
    "near.py": "def near():\n    from toy_spoke.inner.far import FAR\n    return FAR\n",
    "inner/__init__.py": "",
    "inner/far.py": "FAR = 1\n",
    "shape.py": "",
    "unrelated.py": "from toy_spoke import train\n",
}


@pytest.fixture
def toy_spoke(tmp_path, monkeypatch):
    folder = tmp_path / "toy_spoke"
    for name, source in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("toy_spoke", None)


@pytest.mark.usefixtures("toy_spoke")
def test_what_is_imported_at_any_depth_counts_with_the_packages_it_lies_in():
    assert imported_modules(["toy_spoke.train"]) == (
        "toy_spoke",
        "toy_spoke.inner",
        "toy_spoke.inner.far",
        "toy_spoke.near",
        "toy_spoke.train",
    )


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_touching_a_file_changes_the_fingerprint_exactly_if_training_runs_it(toy_spoke, name):
    before = code_fingerprint(["toy_spoke.train"])
    (toy_spoke / name).write_text(SOURCES[name] + "# touched\n")
    after = code_fingerprint(["toy_spoke.train"])
    assert (after == before) == (name in ("shape.py", "unrelated.py"))


def test_a_module_besides_counts_without_what_it_imports(toy_spoke):
    before = code_fingerprint(["toy_spoke.inner.far"], besides=["toy_spoke.unrelated"])
    (toy_spoke / "near.py").write_text("changed = True\n")
    assert code_fingerprint(["toy_spoke.inner.far"], besides=["toy_spoke.unrelated"]) == before
    (toy_spoke / "unrelated.py").write_text("changed = True\n")
    assert code_fingerprint(["toy_spoke.inner.far"], besides=["toy_spoke.unrelated"]) != before


@pytest.mark.usefixtures("toy_spoke")
def test_an_unknown_module_is_named():
    with pytest.raises(InvalidInputError, match=r"toy_spoke\.gone"):
        code_fingerprint(["toy_spoke.gone"])


def test_sources_are_found_without_importing_them():
    assert module_source("streamrec.training.splits").startswith('"""Leave-last-out')
    assert module_source("streamrec.training") != ""
