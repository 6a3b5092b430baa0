"""The re-ranker that everything is compared with."""

from __future__ import annotations

from services.recommendations.contracts.candidates import Candidates, UserState


class RelevanceOrder:
    """A re-ranker that changes nothing."""

    def rerank(
        self,
        candidates: Candidates,
        user_context: UserState,  # noqa: ARG002 - port
        current_latency_ms: float,  # noqa: ARG002 - port
        *,
        slate_length: int | None = None,  # noqa: ARG002 - port
    ) -> Candidates:
        """Return the candidates as they are."""
        return candidates
