from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.recommendations.exposure_control.controller import (
    ControlledTraffic,
    ExposureController,
    observe,
)
from services.recommendations.exposure_control.exposure_prices import EXPOSURE_PRICES
from services.recommendations.exposure_control.step import ControlSettings, Decision, initial_state
from streamrec.contracts.errors import ConflictError, DependencyError
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.publisher import DocumentPublisher
from streamrec.events.memory_event_log import MemoryEventLog
from tests import made_events

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LANGUAGE_OF = {"i-en": "en", "i-de": "de", "i-sw": "sw"}
SETTINGS = ControlSettings(minimum_requests=10)
FITTED = initial_state({"de": 0.001, "en": 0.0, "sw": 0.002}, SETTINGS, 0.003)


def an_impression(number, items, minutes):
    predicted_at = START + timedelta(minutes=minutes)
    return made_events.an_impression(number, predicted_at=predicted_at, item_ids=items)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


def a_controller(log, publisher, clock):
    traffic = ControlledTraffic(log, lambda: LANGUAGE_OF)
    return ExposureController(traffic, publisher, SETTINGS, FITTED, clock=clock)


def serve(log, first, count, minutes, items=("i-en", "i-en", "i-de", "?")):
    log.append(
        [
            an_impression(number, items[:1] if number % 2 else items, minutes)
            for number in range(first, first + count)
        ]
    )


def test_a_window_counts_what_was_shown_between_two_moments():
    shown = [an_impression(n, ("i-en", "i-de", "unknown"), minute) for n, minute in enumerate((0, 1, 5, 6))]
    log = MemoryEventLog()
    log.append(shown)
    window = observe(log, LANGUAGE_OF, start=START + timedelta(minutes=1), end=START + timedelta(minutes=6))
    assert (window.requests, window.exposure) == (2, {"en": 2.0, "de": 2.0})


class Parts:
    """The event log, the clock, and where prices are published."""

    def __init__(self):
        self.log, self.clock, self.store, self.keys = (
            MemoryEventLog(),
            Clock(),
            MemoryDocumentStore(),
            MemoryKeyRing(),
        )

    @property
    def publisher(self):
        """A publisher as another process would open it."""
        return DocumentPublisher(
            self.store, EXPOSURE_PRICES, self.keys, clock=lambda: self.clock.now.timestamp()
        )

    def published(self):
        return self.publisher.published()

    def a_controller(self):
        return a_controller(self.log, self.publisher, self.clock)


@pytest.fixture
def parts():
    return Parts()


def test_it_publishes_once_there_is_enough_evidence_and_each_impression_counts_once(parts):
    controller = parts.a_controller()
    serve(parts.log, 0, 6, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE
    assert parts.published() is None
    serve(parts.log, 6, 6, minutes=3)
    parts.clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.ADJUSTED
    first = parts.published()
    assert first.value.strength > FITTED.strength
    assert first.value.prices == pytest.approx(controller.state.prices)
    assert first.value.published_at == parts.clock.now
    parts.clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE
    assert parts.published() == first


def test_a_restarted_controller_goes_on_from_what_is_published(parts):
    first = parts.a_controller()
    serve(parts.log, 0, 20, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    first.run_once()
    revision = parts.published().revision
    again = parts.a_controller()
    assert again.state.strength == pytest.approx(first.state.strength)
    assert again.state.prices == pytest.approx(first.state.prices)
    parts.clock.now += timedelta(minutes=1)
    assert again.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE, "the window is not counted twice"
    serve(parts.log, 20, 20, minutes=4)
    parts.clock.now += timedelta(minutes=5)
    again.run_once()
    assert parts.published().revision > revision


@pytest.mark.parametrize("content", [b"garbage", None], ids=["damaged", "removed"])
def test_lost_prices_are_replaced_with_a_higher_revision_than_any_before(parts, content):
    before = parts.a_controller()
    serve(parts.log, 0, 20, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    before.run_once()
    revision = parts.published().revision
    parts.store.overwrite(content)
    after = parts.a_controller()
    assert after.state is FITTED
    serve(parts.log, 20, 20, minutes=4)
    parts.clock.now += timedelta(minutes=5)
    after.run_once()
    assert parts.published().revision > revision


def test_a_controller_whose_prices_are_damaged_meanwhile_says_so_and_goes_on(parts):
    controller = parts.a_controller()
    serve(parts.log, 0, 20, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    controller.run_once()
    strength = controller.state.strength
    parts.store.overwrite(b"garbage")
    serve(parts.log, 20, 20, minutes=4)
    parts.clock.now += timedelta(minutes=5)
    with pytest.raises(ConflictError, match="none that is good"):
        controller.run_once()
    assert controller.state.strength == strength
    assert controller.run_once().decision is Decision.ADJUSTED
    assert parts.published().value.strength == controller.state.strength > strength


def test_of_two_controllers_the_later_one_goes_on_from_what_the_other_published(parts):
    first, second = parts.a_controller(), parts.a_controller()
    serve(parts.log, 0, 20, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    first.run_once()
    published = parts.published()
    with pytest.raises(ConflictError):
        second.run_once()
    assert parts.published() == published
    assert second.state.strength == pytest.approx(first.state.strength)
    assert second.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE, "that window is decided"


def test_when_publishing_fails_nothing_has_changed(parts):
    class Broken(MemoryDocumentStore):
        def replace(self, content, expected_tag):  # noqa: ARG002 - port
            raise DependencyError("the disk is full")

    parts.store = Broken()
    controller = parts.a_controller()
    serve(parts.log, 0, 20, minutes=1)
    parts.clock.now += timedelta(minutes=2)
    for _ in range(2):
        with pytest.raises(DependencyError):
            controller.run_once()
    assert controller.state is FITTED
