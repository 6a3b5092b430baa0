"""What a model may cost, who looks at it, how it is trained and watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.specification.fields import Confidence, FunctionName, Hours

MEBIBYTE: Final = 1024**2

_MebiBytes = Annotated[int, Field(ge=1, le=1024 * 1024)]
_REVIEWING_ROLES: Final = frozenset({ActorRole.REVIEWER, ActorRole.RESPONSIBLE_AI, ActorRole.PLATFORM})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLimits:
    """What the files of a version may be.

    Attributes:
        maximum_mib: All files together, in mebibytes.
    """

    __pydantic_config__ = STRICT

    maximum_mib: _MebiBytes = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimits:
    """How fast one request is answered, and in how much memory.

    Attributes:
        p99_ms: 99th percentile of the time of one request, in milliseconds.
        memory_mib: Resident memory of the process that has loaded the version, in mebibytes.
        slower_than_champion: How much slower than the champion, measured beside it, as a share: 0.5 allows
            half as much again.
        confidence: Of the bound that decides, one-sided.
    """

    __pydantic_config__ = STRICT

    p99_ms: Annotated[float, Field(gt=0.0, le=600_000.0, allow_inf_nan=False)] = 50.0
    memory_mib: _MebiBytes = 2_048
    slower_than_champion: Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)] = 0.5
    confidence: Confidence = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPolicy:
    """Who must agree before a version serves, besides its author.

    Attributes:
        approvals: How many different people; 0: nobody need.
        roles: Whose approval counts.
    """

    __pydantic_config__ = STRICT

    approvals: Annotated[int, Field(ge=0, le=5)] = 0
    roles: Annotated[tuple[ActorRole, ...], Field(min_length=1, max_length=3)] = (ActorRole.REVIEWER,)

    def __post_init__(self) -> None:
        for number, role in enumerate(self.roles):
            if role not in _REVIEWING_ROLES:
                names = ", ".join(sorted(_REVIEWING_ROLES))
                raise InvalidInputError(f"roles.{number}", f"must be a role that reviews: {names}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPolicy:
    """How a new version is trained.

    Attributes:
        function: Called in a process of its own with the data folder, the time up to which data counts, and
            the folder that it writes its artifact to.
        timeout_minutes: It is stopped then.
        memory_mib: Most memory of the process, in mebibytes.
    """

    __pydantic_config__ = STRICT

    function: FunctionName
    timeout_minutes: Annotated[float, Field(gt=0.0, le=60.0 * 24.0 * 7.0, allow_inf_nan=False)] = 120.0
    memory_mib: _MebiBytes = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringPolicy:
    """What is watched while a version serves.

    Attributes:
        window_hours: Length of the time that is compared with the time before.
        minimum_samples: Requests in a window without which nothing is said of it.
        false_alarms_per_year: How many alarms about nothing are accepted; thresholds follow from it.
        stale_after_hours: Features or labels older than this are an alarm.
    """

    __pydantic_config__ = STRICT

    window_hours: Hours = 24.0
    minimum_samples: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000
    false_alarms_per_year: Annotated[float, Field(gt=0.0, le=366.0, allow_inf_nan=False)] = 4.0
    stale_after_hours: Hours = 48.0
