"""What the gateway writes beside a drawn slate is what training computes: the same columns and values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import SLOTS
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.judging.features_as_trained import states
from services.recommendations.judging.stage_specifications import stage_specifications
from services.recommendations.judging.state_columns import states_of
from services.recommendations.pipeline.pipeline import PipelineAnswer
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.quality_policy import SkewPolicy
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.time_range import ALL_TIME
from streamrec.gates.skew.evidence import SkewSources, collect_skew
from streamrec.gates.skew.judgement import ServedFrom, judge_skew
from streamrec.gates.skew.logged_requests import read_logged_requests
from tests.unit.judging.conftest import USERS

AT = datetime(2026, 2, 1, tzinfo=UTC)
ANSWER = PipelineAnswer(
    item_ids=("i39",),
    scores=(1.0,),
    rung=Rung.RANKED,
    cold_start=True,
    skipped=(),
    failed=(),
    model_versions={"retrieval": 1, "cold_start": 1, "reranking": 1},
    stages_ms={},
    seed="0" * 16,
)


def logged(data, changed=lambda state: state) -> MemoryEventLog:
    units = [f"u{row:02d}" for row in range(USERS)]
    known = states(data, pd.DataFrame({"unit": units, "at": [AT] * USERS})).assign(unit=units)
    log = MemoryEventLog()
    for number, state in enumerate(states_of(known)):
        log.append([impression_of(f"r{number}", changed(state), ANSWER, AT, 5.0, page=2)])
    return log


@pytest.mark.parametrize("stage", ["retrieval", "cold_start", "reranking"])
def test_what_is_logged_of_each_stage_is_what_training_computes(data, stage):
    # A second page: what the first one has shown comes with the request.
    log = logged(data, lambda state: replace(state, shown=("i38",)))
    result, evidence = judged(data, log, stage)
    assert evidence.served_from is ServedFrom.LOG
    assert {column.mismatches for column in evidence.columns} == {0}
    assert "shown" not in {column.column for column in evidence.columns}
    assert result.verdict is Verdict.PASSED


def test_a_gateway_that_reads_a_segment_otherwise_is_found(data):
    def otherwise(state):
        return replace(state, segment=replace(state.segment, language=state.segment.country))

    result, _ = judged(data, logged(data, otherwise), "reranking")
    assert result.verdict is Verdict.FAILED
    assert (result.reasons[0].code, result.reasons[0].path) == ("feature_skew", "features.language")


def judged(data, log: MemoryEventLog, stage: str):
    specification = stage_specifications()[stage]
    sources = SkewSources(
        logged=read_logged_requests(log, SLOTS[stage], ALL_TIME),
        trained=lambda entities: states(data, entities),
        answers=lambda _: pytest.fail("no outcome is known"),
        online=None,
        units=(),
        now=AT,
    )
    evidence = collect_skew("recommendations@1", specification, sources, None)
    return judge_skew(evidence, SkewPolicy(minimum_rows=5, differing_share=0.3)), evidence
