import pytest

from streamrec.contracts.errors import ConflictError, DependencyError, NotFoundError, PermanentError
from streamrec.registry.mlflow_errors import platform_error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RESOURCE_DOES_NOT_EXIST", NotFoundError),
        ("PERMISSION_DENIED", PermanentError),
        ("UNAUTHENTICATED", PermanentError),
        ("CUSTOMER_UNAUTHORIZED", PermanentError),
        ("INVALID_PARAMETER_VALUE", PermanentError),
        ("MALFORMED_REQUEST", PermanentError),
        ("RESOURCE_ALREADY_EXISTS", PermanentError),
        ("ENDPOINT_NOT_FOUND", PermanentError),
        ("RESOURCE_CONFLICT", ConflictError),
        ("TEMPORARILY_UNAVAILABLE", DependencyError),
        ("REQUEST_LIMIT_EXCEEDED", DependencyError),
        ("BAD_REQUEST", DependencyError),
        ("INTERNAL_ERROR", DependencyError),
        ("A_CODE_OF_TOMORROW", DependencyError),
    ],
)
def test_only_what_may_pass_is_worth_another_try(code, kind):
    error = platform_error(code, "what MLflow says", "reading two-tower@1")
    assert type(error) is kind
    assert error.retryable is (kind in (ConflictError, DependencyError))
    assert "reading two-tower@1" in str(error)
    assert "what MLflow says" in str(error)
