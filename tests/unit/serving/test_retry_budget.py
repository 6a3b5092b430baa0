from __future__ import annotations

import pytest

from streamrec.serving.retry_budget import RetryBudget


def test_retries_stay_below_a_tenth_of_the_requests():
    budget = RetryBudget(ratio=0.1, maximum_retries=10.0, initial_retries=0.0)
    retries = 0
    for _ in range(10_000):
        budget.record_request()
        while budget.try_spend():
            retries += 1
    assert retries == 1000


def test_quiet_times_cannot_save_up_for_a_storm():
    budget = RetryBudget(ratio=0.1, maximum_retries=10.0)
    for _ in range(100_000):
        budget.record_request()
    assert sum(budget.try_spend() for _ in range(100)) == 10


def test_the_first_failure_may_be_retried_and_then_no_more():
    budget = RetryBudget()
    assert [budget.try_spend() for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("options", [{"ratio": 1.5}, {"ratio": -0.1}, {"initial_retries": 11.0}])
def test_a_budget_without_bounds_is_refused(options):
    with pytest.raises(ValueError, match="must lie"):
        RetryBudget(**options)
