"""What MLflow's errors mean to a caller: is it worth to try again?"""

from __future__ import annotations

from typing import Final

from streamrec.contracts.errors import (
    ConflictError,
    DependencyError,
    NotFoundError,
    PermanentError,
    StreamRecError,
)

_NOT_FOUND: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_CONFLICT: Final = frozenset({"RESOURCE_CONFLICT", "ABORTED"})
_REFUSED: Final = frozenset(
    {
        "ALREADY_EXISTS",
        "CUSTOMER_UNAUTHORIZED",
        "ENDPOINT_NOT_FOUND",
        "FEATURE_DISABLED",
        "INVALID_PARAMETER_VALUE",
        "MALFORMED_REQUEST",
        "NOT_IMPLEMENTED",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "UNAUTHENTICATED",
    }
)
"""MLflow answered, and the same request gets the same answer.

BAD_REQUEST is not among them: MLflow also says so of a database that refused a statement.
"""


def platform_error(code: str, message: str, doing: str) -> StreamRecError:
    """Return the platform's error for an error code of MLflow.

    Args:
        code: Such as ``PERMISSION_DENIED``.
        message: What MLflow says.
        doing: What was being done, such as ``registering two-tower``.
    """
    if code in _NOT_FOUND:
        return NotFoundError(f"{doing}: {message}")
    if code in _REFUSED:
        return PermanentError(f"{doing}: MLflow refused it ({code}): {message}")
    if code in _CONFLICT:
        return ConflictError(f"{doing}: somebody else changed it at the same time: {message}")
    return DependencyError(f"{doing}: MLflow did not answer: {message}")
