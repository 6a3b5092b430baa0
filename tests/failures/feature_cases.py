"""Case 15 of what the platform must survive, at run time: online rows whose columns are not right."""

from __future__ import annotations

from typing import Final

import httpx
from feast.protos.feast.types.Value_pb2 import Value

from services.recommendations.contracts.stages import FEATURES
from streamrec.contracts.errors import DamagedRowError
from streamrec.features.names import ACTIVITY_VIEW, PROFILE_VIEW
from tests.failures.parts import wait_until
from tests.failures.services import UNASKED_USERS, BreakableService
from tests.integration.serving.asking import metric, recommend

_LANGUAGE: Final = f"{PROFILE_VIEW}:language"
_HISTORY: Final = f"{ACTIVITY_VIEW}:history"

_FAULTS: Final = f'streamrec_faults_total{{dependency="feature_store",error="{DamagedRowError.__name__}"}}'

DAMAGES: Final[dict[str, list[tuple[str, Value | None]]]] = {
    "dropped": [(_LANGUAGE, None)],
    "renamed": [(_LANGUAGE, None), (f"{PROFILE_VIEW}:locale", Value(string_val="fi"))],
    "retyped": [(_HISTORY, Value(string_val="item-001"))],
    "empty": [(_HISTORY, Value())],
}
"""What is written into a row, one user each: of one whose row a gateway keeps, it would ask the revision."""


def online_columns(service: BreakableService) -> None:
    """Whoever has a damaged row gets a slate that says that the features are missing, and it is counted."""
    with service.client() as client:
        for user_id, (name, changes) in zip(UNASKED_USERS, DAMAGES.items(), strict=True):
            for feature, value in changes:
                service.redis.replace_value(user_id, feature, value)
            answer = recommend(client, user_id)
            assert answer["items"], name
            assert answer["degraded"], name
            assert FEATURES in answer["skipped"], name
        # A gateway counts for itself, and any of them may be asked.
        wait_until(lambda: _faults(client) > 0.0, 10.0, "the damaged rows are counted")


def _faults(client: httpx.Client) -> float:
    return metric(client, _FAULTS)
