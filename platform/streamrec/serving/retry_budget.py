"""How many retries a client may send: a share of its requests, never more."""

from __future__ import annotations

from threading import Lock


class RetryBudget:
    """A token bucket that requests fill and retries empty (as in Finagle's retry budgets).

    At most ``initial_retries + ratio * requests`` retries are ever allowed, and at most
    ``maximum_retries`` at once, so that retries cannot multiply the load on a dependency that is down.
    Safe to use from several threads.
    """

    def __init__(
        self, *, ratio: float = 0.1, maximum_retries: float = 10.0, initial_retries: float = 1.0
    ) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"the ratio of retries to requests must lie in 0..1, not {ratio}")
        if not 0.0 <= initial_retries <= maximum_retries:
            raise ValueError("initial_retries must lie between 0 and maximum_retries")
        self._ratio = ratio
        self._maximum_retries = maximum_retries
        self._initial_retries = initial_retries
        self._tokens = initial_retries
        self._lock = Lock()

    def fresh(self) -> RetryBudget:
        """Return one of the same settings that nothing was spent of, for something else that is called."""
        return RetryBudget(
            ratio=self._ratio,
            maximum_retries=self._maximum_retries,
            initial_retries=self._initial_retries,
        )

    def record_request(self) -> None:
        """Count one first attempt."""
        with self._lock:
            self._tokens = min(self._maximum_retries, self._tokens + self._ratio)

    def try_spend(self) -> bool:
        """Take one retry out of the budget; False means that the first failure must stand."""
        with self._lock:
            # Ten times 0.1 is a hair below 1.0 in floating point.
            if self._tokens < 1.0 - 1e-9:
                return False
            self._tokens = max(0.0, self._tokens - 1.0)
            return True
