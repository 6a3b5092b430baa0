from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.errors import InvalidInputError, NotReadyError
from streamrec.contracts.events import InteractionKind, Label, Outcome
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.quality_policy import Task
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.time_range import ALL_TIME
from streamrec.gates.predictions import Predictions, checked
from streamrec.gates.skew.evidence import SkewSources, collect_skew
from streamrec.gates.skew.judgement import ServedFrom, judge_skew
from streamrec.gates.skew.logged_requests import read_logged_requests
from tests.made_events import NOON, a_prediction, an_impression

SLOT = "ads.clicks"
SPECIFICATION = ModelSpecification.from_json(
    {
        "schema": "streamrec.model_specification.v1",
        "name": "ads-clicks",
        "owner": "ads",
        "slot": SLOT,
        "task": "classification",
        "predictor": "ads:load",
        "evaluation": {"requests": "evaluation.parquet"},
        "no_sensitive_attributes": "made up",
        "skew": {"features": "ads:features", "given": ["page"]},
    }
)


def signal_of(unit: str) -> float:
    return float(np.random.default_rng(int(unit[1:])).normal())


def traffic(requests: int = 600, *, skew: float = 0.0) -> MemoryEventLog:
    """Clicks by a signal; with ``skew`` the feature that was served was another one."""
    rng = np.random.default_rng(1)
    log = MemoryEventLog()
    for number in range(requests):
        unit = f"u{number}"
        served = signal_of(unit) + skew * float(rng.normal())
        log.append(
            [
                a_prediction(
                    number,
                    unit=unit,
                    slot=SLOT,
                    version="ads-clicks@1",
                    features={"schema": "ads.v1", "signal": served, "page": number % 3},
                ),
                Label(
                    subject=f"r{number}",
                    name="clicked",
                    value=bool(rng.random() < 1 / (1 + np.exp(-3 * signal_of(unit)))),
                    at=NOON,
                    received_at=NOON + timedelta(hours=1),
                ),
            ]
        )
    return log


def trained(entities: pd.DataFrame) -> pd.DataFrame:
    assert list(entities.columns) == ["unit", "at"]
    return pd.DataFrame({"signal": [signal_of(unit) for unit in entities["unit"]]})


def answers(requests: pd.DataFrame) -> Predictions:
    """The candidate: it needs both features."""
    assert requests["page"].notna().all()
    return checked(
        Predictions(
            task=Task.CLASSIFICATION,
            request_ids=requests["request_id"].to_numpy(dtype=object),
            units=requests["unit"].to_numpy(dtype=object),
            at=requests["at"].dt.tz_localize(None).to_numpy(),
            labels=requests["label"].to_numpy(dtype=float),
            scores=1 / (1 + np.exp(-3 * requests["signal"].to_numpy(dtype=float))),
            item_ids=None,
            item_scores=None,
            relevant=None,
            groups={},
        )
    )


def sources(log: MemoryEventLog, **changes) -> SkewSources:
    fields = {
        "logged": read_logged_requests(log, SLOT, ALL_TIME),
        "trained": trained,
        "answers": answers,
        "online": None,
        "units": [f"u{number}" for number in range(500)],
        "now": datetime(2026, 3, 2, tzinfo=UTC),
    }
    return SkewSources(**(fields | changes))


def judged(log: MemoryEventLog, specification: ModelSpecification = SPECIFICATION, **changes):
    evidence = collect_skew("ads-clicks@2", specification, sources(log, **changes), None)
    return evidence, judge_skew(evidence, specification.skew)


def test_logged_features_that_are_those_of_training_pass():
    evidence, result = judged(traffic())
    assert (result.verdict, result.reasons) == (Verdict.PASSED, ())
    assert evidence.served_from is ServedFrom.LOG
    # What the request brings is not compared, and the candidate is given it all the same.
    assert [column.column for column in evidence.columns] == ["signal"]
    assert evidence.replay is not None
    assert evidence.replay.requests == 600
    assert evidence.replay.as_served.value == evidence.replay.as_trained.value


def test_a_skew_is_found_in_the_features_and_in_the_metric():
    evidence, result = judged(traffic(skew=2.0))
    assert result.verdict is Verdict.FAILED
    assert [found.code for found in result.reasons] == ["feature_skew", "metric_lost_to_skew"]
    assert evidence.replay is not None
    assert evidence.replay.as_served.value < 0.9 * evidence.replay.as_trained.value


def test_only_requests_whose_features_differ_are_asked_again():
    asked = []

    def counted(requests: pd.DataFrame) -> Predictions:
        asked.append(requests["request_id"].tolist())
        return answers(requests)

    def of_two_others(entities: pd.DataFrame) -> pd.DataFrame:
        found = trained(entities)
        found.loc[[3, 7], "signal"] += 5.0
        return found

    judged(traffic(), answers=counted)
    assert [len(requests) for requests in asked] == [600]
    evidence, _ = judged(traffic(), answers=counted, trained=of_two_others)
    assert asked[1:] == [asked[0], ["r3", "r7"]]
    assert evidence.replay is not None
    assert evidence.replay.as_trained.value != evidence.replay.as_served.value


def test_of_each_unit_its_newest_request_is_compared():
    log = traffic()
    # One user asked a hundred times before with another value: that is one row that differs, if any.
    old = [
        a_prediction(n, slot=SLOT, unit="u7", features={"signal": 9.0, "page": 0}, predicted_at=NOON)
        for n in range(5_000, 5_100)
    ]
    log.append(old)
    evidence, result = judged(log)
    assert (evidence.columns[0].rows, evidence.columns[0].mismatches) == (600, 0)
    assert result.verdict is Verdict.PASSED


def test_with_few_outcomes_features_alone_decide():
    log = traffic(150)
    log.append([a_prediction(n, slot=SLOT, unit=f"u{n}", features={"signal": signal_of(f"u{n}"), "page": 0})
                for n in range(1_000, 1_200)])  # fmt: skip
    evidence, result = judged(log)
    assert evidence.replay is None
    assert (result.verdict, [found.code for found in result.reasons]) == (Verdict.PASSED, ["features_alone"])


def online(units) -> pd.DataFrame:
    return pd.DataFrame({"signal": [signal_of(unit) for unit in units]})


def test_without_traffic_the_online_store_is_asked():
    evidence, result = judged(MemoryEventLog(), online=online)
    assert evidence.served_from is ServedFrom.ONLINE_STORE
    assert evidence.columns[0].rows == 500
    assert (result.verdict, [found.code for found in result.reasons]) == (Verdict.PASSED, ["features_alone"])
    _, result = judged(MemoryEventLog(), online=lambda units: online(units) + 1.0)
    assert (result.verdict, result.reasons[0].code) == (Verdict.FAILED, "feature_skew")


def test_without_traffic_and_without_features_online_nothing_is_decided():
    _, result = judged(MemoryEventLog())
    assert (result.verdict, result.reasons[0].code) == (Verdict.INCONCLUSIVE, "no_served_features")

    def not_yet(_):
        raise NotReadyError("nothing has been materialised yet")

    _, result = judged(MemoryEventLog(), online=not_yet)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "nothing has been materialised yet" in result.reasons[0].message


def test_requests_that_bring_all_features_are_replayed_alone():
    bringing = replace(SPECIFICATION, skew=replace(SPECIFICATION.skew, features=None))
    evidence, result = judged(traffic(), bringing, trained=None)
    assert (evidence.served_from, evidence.columns) == (ServedFrom.REQUESTS, ())
    assert evidence.replay is not None
    assert result.verdict is Verdict.PASSED


def test_rows_that_were_not_asked_for_are_refused():
    with pytest.raises(InvalidInputError, match="must give 600 rows"):
        judged(traffic(), trained=lambda entities: trained(entities).iloc[:10])


def test_the_log_is_read_by_slot_and_each_request_once():
    log = MemoryEventLog()
    log.append(
        [
            an_impression(1, slot="shop.order", versions={"shop.find": "f@1"}, features={"a": 1}),
            an_impression(2, slot="shop.find", features={"a": 2}),
            an_impression(2, slot="shop.order", versions={"shop.find": "f@1"}, features={"a": 2}),
            an_impression(3, slot="shop.find"),
            an_impression(4, slot="other.slot", features={"a": 4}),
        ]
    )
    taken = Outcome("e1", "u1", "a", InteractionKind.PLAY, NOON, NOON, request_id="r1")
    log.append([taken, replace(taken, event_id="e2", item_id="b", kind=InteractionKind.SKIP)])
    found = read_logged_requests(log, "shop.find", ALL_TIME)
    assert found.count == 4
    assert found.requests["request_id"].tolist() == ["r1", "r2"]
    assert found.features["a"].tolist() == [1, 2]
    assert found.taken == {"r1": ("a",)}
    assert read_logged_requests(log, "shop.find", ALL_TIME, limit=1).requests["request_id"].tolist() == ["r2"]
    assert read_logged_requests(log, "nobody.asks", ALL_TIME).requests.empty


def test_a_later_label_corrects_and_labels_of_two_names_are_refused():
    log = traffic(3)
    label = Label(subject="r1", name="clicked", value=True, at=NOON, received_at=NOON + timedelta(hours=2))
    # Of another time: the same label once more would be a repetition.
    later = NOON + timedelta(hours=3)
    log.append([label, replace(label, value=False, at=NOON + timedelta(minutes=1), received_at=later)])
    assert read_logged_requests(log, SLOT, ALL_TIME).labels["r1"] == 0.0
    log.append([replace(label, name="bought")])
    with pytest.raises(InvalidInputError, match="bought, clicked"):
        read_logged_requests(log, SLOT, ALL_TIME)
