"""Functions that a specification names, found and called as the ports say."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from streamrec.gates.predictor import Predictor

ARTIFACT: Final = "artifact"
REQUESTS: Final = "requests"
DATA: Final = "data"
NEEDED: Final = "needed."
"""The input ``needed.ROLE`` is the folder that a predictor is handed as ``needs[ROLE]``."""


def named_function(name: str) -> Callable[..., Any]:
    """The function of ``module:function``.

    Raises:
        ImportError, AttributeError: There is no such module, or nothing of that name in it.
    """
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def load_predictor(name: str, inputs: Mapping[str, Path]) -> Predictor:
    """Load a version by the function that its specification names."""
    needs = {key.removeprefix(NEEDED): path for key, path in inputs.items() if key.startswith(NEEDED)}
    if DATA in inputs:
        needs[DATA] = inputs[DATA]
    loaded: Predictor = named_function(name)(inputs[ARTIFACT], needs)
    return loaded
