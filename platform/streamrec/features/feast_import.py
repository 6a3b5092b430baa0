"""Importing Feast without what the import does to the process.

Feast switches prometheus_client to its multi-process mode by environment variables that it sets when it is
imported: metrics of this process and of its children would go to files. Here prometheus_client is imported
first and the variables are taken back.

It also imports torch where that is installed, only to hand out tensors, and has typeguard compile each of its
functions a second time with checks of types: two thirds of the five seconds that the import takes. A replica
that starts needs neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import prometheus_client  # noqa: F401 - reads the variables once, so it must come before feast
import typeguard

_METRICS_VARIABLES: Final = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")
_set_by_others: Final = {name for name in _METRICS_VARIABLES if name in os.environ}


def _unchecked(target: Callable[..., Any] | None = None, **_settings: Any) -> Any:
    """Take the place of typeguard's decorator, which may be used with settings or without."""
    return (lambda decorated: decorated) if target is None else target


@contextmanager
def _without_torch_and_type_checks() -> Iterator[None]:
    checked, hidden = typeguard.typechecked, "torch" not in sys.modules
    typeguard.typechecked = _unchecked
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        typeguard.typechecked = checked
        if hidden:
            del sys.modules["torch"]


with _without_torch_and_type_checks():
    from feast import Entity, FeatureService, FeatureStore, FeatureView
    from feast.errors import FeastObjectNotFoundException
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Int64List, StringList, Value
    from feast.repo_config import RepoConfig

for _name in _METRICS_VARIABLES:
    if _name not in _set_by_others:
        os.environ.pop(_name, None)

__all__ = [
    "Entity",
    "EntityKey",
    "FeastObjectNotFoundException",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "Int64List",
    "RepoConfig",
    "StringList",
    "Value",
    "serialize_entity_key",
]
