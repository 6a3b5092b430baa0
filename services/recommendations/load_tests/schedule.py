"""What is asked and when, planned before the first request: an open loop.

Requests arrive as a Poisson process, as those of many independent users do. Nothing that a service does moves
a planned time, so a service that stands still is asked on, and the wait of everybody who would have come
meanwhile counts (Tene 2013, "How not to measure latency", on coordinated omission; Schroeder et al. 2006,
"Open versus closed: a cautionary tale").
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.load_tests.made_world import COUNTRIES, LANGUAGES
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.contracts.errors import InvalidInputError

MAXIMUM_RPS: Final = 5_000.0
MAXIMUM_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """One load.

    Attributes:
        rps: Recommendation requests a second on average.
        duration_s: How long the measured part lasts.
        warm_up_s: How long the same load goes before it, unmeasured.
        known_share: Share of the requests that come from users with a history, each of them as likely; the
            others are of users whom nobody has seen.
        event_share: Share of the answers after which the user plays an item.
        event_delay_s: How long after the request.
        slate_length: Items asked for, k.
        user_count: Users with a history.
        connections: Most connections at once. A request that finds none free counts as failed.
        patience_s: How long an answer is waited for; then the request counts as failed.
        seed: Of the times, the users and the events.
    """

    rps: float
    duration_s: float = 20.0
    warm_up_s: float = 5.0
    known_share: float = 0.7
    event_share: float = 0.1
    event_delay_s: float = 0.5
    slate_length: int = 20
    user_count: int = 10_000
    connections: int = 512
    patience_s: float = 10.0
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rps", 0.1, MAXIMUM_RPS),
            ("duration_s", 0.1, MAXIMUM_SECONDS),
            ("warm_up_s", 0.0, MAXIMUM_SECONDS),
            ("known_share", 0.0, 1.0),
            ("event_share", 0.0, 1.0),
            ("event_delay_s", 0.0, 60.0),
            ("slate_length", 1, 500),
            ("user_count", 1, 10_000_000),
            ("connections", 1, 900),
            ("patience_s", 0.1, 60.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError(name, f"must be in {low}..{high}")

    @property
    def total_s(self) -> float:
        """From the first planned moment to the last."""
        return self.warm_up_s + self.duration_s

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**document)


@dataclass(frozen=True)
class Schedule:
    """Requests in the order of their times.

    Attributes:
        times_s: Shape (n,): planned time of each, from the start.
        known: Shape (n,): whether the user has a history.
        users: Shape (n,): number of the user, of those with a history or of those without.
        with_event: Shape (n,): whether the user plays an item afterwards.
        segments: Shape (n, 2): country and language that the caller sends with a user without a history.
    """

    times_s: NDArray[np.float64]
    known: NDArray[np.bool_]
    users: NDArray[np.int64]
    with_event: NDArray[np.bool_]
    segments: NDArray[np.int64]

    @classmethod
    def plan(cls, settings: LoadSettings) -> Self:
        """Draw it; the same settings give the same."""
        rng = np.random.default_rng([settings.seed, 20])
        times_s = _poisson_times(settings.rps, settings.total_s, rng)
        count = len(times_s)
        known = rng.random(count) < settings.known_share
        users = np.where(known, rng.integers(settings.user_count, size=count), np.cumsum(~known) - 1)
        with_event = rng.random(count) < settings.event_share
        segments = np.stack(
            [rng.integers(len(COUNTRIES), size=count), rng.integers(len(LANGUAGES), size=count)], axis=1
        )
        return cls(times_s, known, users, with_event, segments)

    def __len__(self) -> int:
        return len(self.times_s)

    def user_id(self, request: int, seed: int) -> str:
        """Who asks; users without a history are others in every load."""
        number = int(self.users[request])
        return WorldSettings.user_id(number) if self.known[request] else f"new-{seed}-{number:07d}"

    def body(self, request: int, settings: LoadSettings) -> bytes:
        """The request's JSON."""
        document: dict[str, Any] = {
            "user_id": self.user_id(request, settings.seed),
            "k": settings.slate_length,
        }
        if not self.known[request]:
            country, language = self.segments[request].tolist()
            document["context"] = {"country": COUNTRIES[country], "language": LANGUAGES[language]}
        return json.dumps(document, separators=(",", ":")).encode()


def _poisson_times(rps: float, total_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Moments of a Poisson process: gaps are exponential, so that no moment knows of the one before."""
    expected = rps * total_s
    enough = int(expected + 10.0 * np.sqrt(expected) + 100.0)
    times = np.cumsum(rng.exponential(1.0 / rps, size=enough))
    kept: NDArray[np.float64] = times[times < total_s]
    return kept
