"""Importing Feast without what the import does to the process.

Feast switches prometheus_client to its multi-process mode by environment variables that it sets when it is
imported: metrics of this process and of its children would go to files. Here prometheus_client is imported
first and the variables are taken back.
"""

from __future__ import annotations

import os
from typing import Final

import prometheus_client  # noqa: F401 - reads the variables once, so it must come before feast

_METRICS_VARIABLES: Final = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")
_set_by_others: Final = {name for name in _METRICS_VARIABLES if name in os.environ}

from feast import Entity, FeatureService, FeatureStore, FeatureView  # noqa: E402
from feast.errors import FeastObjectNotFoundException  # noqa: E402
from feast.infra.key_encoding_utils import serialize_entity_key  # noqa: E402
from feast.protos.feast.types.EntityKey_pb2 import EntityKey  # noqa: E402
from feast.protos.feast.types.Value_pb2 import Value  # noqa: E402
from feast.repo_config import RepoConfig  # noqa: E402

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
    "RepoConfig",
    "Value",
    "serialize_entity_key",
]
