"""The controller around the pure step: observe the event log, decide, publish. Restartable at any point."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from services.recommendations.exposure_control.exposure_prices import ExposurePrices
from services.recommendations.exposure_control.step import (
    ControlSettings,
    ControlState,
    Decision,
    ExposureWindow,
    Step,
    step,
)
from streamrec.contracts.errors import ConflictError, DocumentRefusedError
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.documents.publisher import DocumentPublisher
from streamrec.events.event_log import EventReader
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange
from streamrec.stats.exposure import gini_weights, project_onto_permutohedron

_LOG = logging.getLogger(__name__)


def observe(
    reader: EventReader, language_of: Mapping[str, str], *, start: datetime, end: datetime
) -> ExposureWindow:
    """Count what was shown; every position counts 1, and every rung of the ladder, since users saw it.

    Args:
        reader: The event log. Only the window is read.
        language_of: Creator language by item id; other items are not counted.
        start, end: The window: served at ``start`` or later and before ``end``.

    Raises:
        DependencyError: The log cannot be read.
    """
    slates = reader.table(RecordKind.IMPRESSION, ["item_ids"], TimeRange(start, end))["item_ids"]
    shown = Counter[str]()
    for counted in slates.combine_chunks().flatten().value_counts().to_pylist():
        language = language_of.get(counted["values"])
        if language is not None:
            shown[language] += counted["counts"]
    return ExposureWindow(len(slates), {name: float(count) for name, count in shown.items()})


@dataclass(frozen=True)
class ControlledTraffic:
    """Where the controller looks.

    Attributes:
        reader: The event log.
        language_of: Returns the creator language by item id as of now; asked once a window, because items
            are put while the controller runs.
    """

    reader: EventReader
    language_of: Callable[[], Mapping[str, str]]


class ExposureController:
    """Steps once for each window that is long enough. Not for several threads; one per target.

    What it must remember is in the published document. A controller that starts anew goes on from there.
    """

    def __init__(
        self,
        traffic: ControlledTraffic,
        publisher: DocumentPublisher[ExposurePrices],
        settings: ControlSettings,
        fitted: ControlState,
        *,
        since: datetime | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Set it up.

        Args:
            traffic: Where to look.
            publisher: Where prices go.
            settings: How to decide.
            fitted: Where to begin if nothing is published yet; its languages are those that count.
            since: From when on the fitted prices were served; what was served from then on is the first
                window. From now on where None.
            clock: Now, UTC.

        Raises:
            InvalidInputError: The trusted keys are damaged.
            DependencyError: The published document, or the trusted keys, cannot be read.
        """
        self._traffic, self._publisher, self._settings, self._clock = traffic, publisher, settings, clock
        self._fitted, self._state = fitted, fitted
        self._window_start = since or clock()
        self._revision = 0
        self._resume()

    @property
    def state(self) -> ControlState:
        """What the next window is decided on."""
        return self._state

    def run_once(self) -> Step:
        """Decide on what was served since the last decision, and publish if anything changed.

        A window with too little evidence is not over: it goes on until it holds enough.

        Raises:
            ConflictError: Another controller has published, or the document was damaged; nothing was
                published, and the next call goes on from what lies there.
            InvalidInputError: The prices cannot be signed.
            DependencyError: The log cannot be read, or the prices cannot be written; nothing has changed.
        """
        now = self._clock()
        window = observe(
            self._traffic.reader,
            self._traffic.language_of(),
            start=self._window_start,
            end=max(now, self._window_start),
        )
        outcome = step(self._settings, self._state, window)
        if outcome.decision is Decision.HELD_TOO_LITTLE_EVIDENCE:
            _LOG.info("exposure prices held: %d requests so far", window.requests)
            return outcome
        body = prices_to_publish(outcome.state, self._settings, now).to_body()
        try:
            revision = self._publisher.publish(body, expected_revision=self._revision).revision
        except ConflictError:
            self._resume()
            raise
        self._state, self._revision, self._window_start = outcome.state, revision, now
        _LOG.info(
            "exposure Gini %.3f over %d requests, target %.3f: %s, strength %.5f, revision %d",
            outcome.gini,
            window.requests,
            self._settings.target_gini,
            outcome.decision,
            outcome.state.strength,
            revision,
        )
        return outcome

    def _resume(self) -> None:
        """Go on from what is published, or from where this controller is if nothing good is."""
        published = _published(self._publisher)
        if published is None:
            self._revision = 0
            return
        self._revision, self._window_start = published.revision, published.value.published_at
        self._state = resumed_state(self._fitted, published.value, self._settings)


def prices_to_publish(state: ControlState, settings: ControlSettings, now: datetime) -> ExposurePrices:
    """Return what replicas and a restarted controller need to know."""
    return ExposurePrices(
        published_at=now,
        target_gini=settings.target_gini,
        strength=state.strength,
        pattern=dict(zip(state.languages, state.pattern.tolist(), strict=True)),
        prices=state.prices,
    )


def resumed_state(fitted: ControlState, published: ExposurePrices, settings: ControlSettings) -> ControlState:
    """Go on from what is published; a language that is new since then starts where it was fitted."""
    if published.strength == 0.0:
        return fitted
    known = dict(zip(fitted.languages, fitted.pattern.tolist(), strict=True)) | dict(published.pattern)
    pattern = np.array([known[name] for name in fitted.languages])
    strength = min(max(published.strength, settings.minimum_strength), settings.maximum_strength)
    return ControlState(
        fitted.languages, project_onto_permutohedron(pattern, gini_weights(len(pattern))), strength
    )


def _published(
    publisher: DocumentPublisher[ExposurePrices],
) -> VerifiedDocument[ExposurePrices] | None:
    try:
        return publisher.published()
    except DocumentRefusedError as error:
        _LOG.warning("the published prices are not used, and are replaced with the next decision: %s", error)
        return None
