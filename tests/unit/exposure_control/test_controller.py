from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.recommendations.exposure_control.controller import (
    ControlledTraffic,
    ExposureController,
    observe,
)
from services.recommendations.exposure_control.file_price_source import FilePricePublisher
from services.recommendations.exposure_control.price_source import MemoryPriceBoard
from services.recommendations.exposure_control.step import ControlSettings, Decision, initial_state
from streamrec.contracts.errors import DependencyError
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
    traffic = ControlledTraffic(log, LANGUAGE_OF)
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
    window = observe(shown, LANGUAGE_OF, after=START, until=START + timedelta(minutes=5))
    assert (window.requests, window.exposure) == (2, {"en": 2.0, "de": 2.0})
    assert window.relevance_loss is None


def test_it_publishes_once_there_is_enough_evidence_and_each_impression_counts_once():
    log, board, clock = MemoryEventLog(), MemoryPriceBoard(), Clock()
    controller = a_controller(log, board, clock)
    serve(log, 0, 6, minutes=1)
    clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE
    assert board.published() is None
    serve(log, 6, 6, minutes=3)
    clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.ADJUSTED
    first = board.published()
    assert first.strength > FITTED.strength
    assert first.prices == pytest.approx(controller.state.prices)
    clock.now += timedelta(minutes=2)
    assert controller.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE
    assert board.published() == first


def test_a_restarted_controller_goes_on_from_what_is_published(tmp_path):
    log, clock = MemoryEventLog(), Clock()
    publisher = FilePricePublisher(tmp_path / "prices.json")
    first = a_controller(log, publisher, clock)
    serve(log, 0, 20, minutes=1)
    clock.now += timedelta(minutes=2)
    first.run_once()
    again = a_controller(log, FilePricePublisher(tmp_path / "prices.json"), clock)
    assert again.state.strength == pytest.approx(first.state.strength)
    assert again.state.prices == pytest.approx(first.state.prices)
    clock.now += timedelta(minutes=1)
    assert again.run_once().decision is Decision.HELD_TOO_LITTLE_EVIDENCE, "the window is not counted twice"
    serve(log, 20, 20, minutes=4)
    clock.now += timedelta(minutes=5)
    again.run_once()
    assert publisher.published().revision > 1


def test_damaged_prices_are_replaced_with_a_higher_revision_than_any_before(tmp_path):
    log, clock, path = MemoryEventLog(), Clock(), tmp_path / "prices.json"
    before = a_controller(log, FilePricePublisher(path), clock)
    serve(log, 0, 20, minutes=1)
    clock.now += timedelta(minutes=2)
    before.run_once()
    revision = FilePricePublisher(path).published().revision
    path.write_bytes(b"garbage")
    after = a_controller(log, FilePricePublisher(path), clock)
    assert after.state is FITTED
    serve(log, 20, 20, minutes=4)
    clock.now += timedelta(minutes=5)
    after.run_once()
    assert FilePricePublisher(path).published().revision > revision


def test_when_publishing_fails_nothing_has_changed():
    class Broken(MemoryPriceBoard):
        def publish(self, document):  # noqa: ARG002 - port
            raise DependencyError("the disk is full")

    log, clock = MemoryEventLog(), Clock()
    controller = a_controller(log, Broken(), clock)
    serve(log, 0, 20, minutes=1)
    clock.now += timedelta(minutes=2)
    for _ in range(2):
        with pytest.raises(DependencyError):
            controller.run_once()
    assert controller.state is FITTED
