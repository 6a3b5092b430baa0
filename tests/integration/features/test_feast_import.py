from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

PROGRAM = """
import sys, typeguard
before = typeguard.typechecked
import streamrec.features.feast_store
assert "torch" not in sys.modules
assert typeguard.typechecked is before
init = streamrec.features.feast_import.FeatureView.__init__
assert "check_argument_types_internal" not in init.__code__.co_names, "compiled once more, with checks"
import torch.version
"""


@pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is not installed: there is nothing to leave out"
)
def test_importing_feast_brings_no_torch_and_leaves_typeguard_and_torch_as_they_were():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120.0)
