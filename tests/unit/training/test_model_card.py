from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.training.evaluation import GroupEvaluation
from streamrec.training.model_card import (
    MAXIMUM_ROWS,
    CallLatency,
    FigureRow,
    FigureTable,
    ModelCard,
    TrainingData,
    card_json,
    card_markdown,
    group_table,
)
from streamrec.training.training_cost import TrainingCost

HOSTILE = "x|y `<script>`\n# heading\x1b[31m\u202e"


def figures(value):
    return {"ndcg@10": Interval(value, value / 2, 2 * value, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 40)}


@pytest.fixture
def card():
    groups = [GroupEvaluation("en", 400, figures(0.1)), GroupEvaluation("fi", 3, None)]
    return ModelCard(
        name="recommendations-ranking",
        purpose="Ranks.",
        data=TrainingData("d" * 64, 1000, 20_000, 123_456, "leave-last-out"),
        seed=7,
        settings_fingerprint="s" * 64,
        settings={"epochs": 3},
        tables=(
            FigureTable("All users", (FigureRow("this model", 1000, figures(0.08)),), "Measured so."),
            group_table("By creator language", groups),
        ),
        limits=("Not for pricing.",),
        cost=TrainingCost(61.25, 118.5, 512 * 1024**2, False, 100_000),
        latencies=(CallLatency("rank 500", 200, 1.2345, 3.5),),
        depends_on={"retrieval": "recommendations-retrieval@3"},
    )


def test_the_text_says_everything(card):
    text = card_markdown(card)
    for part in (
        "# recommendations-ranking",
        "Ranks.",
        "- Not for pricing.",
        "d" * 64,
        "1,000, 20,000, 123,456",
        "leave-last-out",
        "| this model | 1,000 | 0.0800 (0.0400 to 0.1600) |",
        "| en | 400 | 0.1000 (0.0500 to 0.2000) |",
        "fewer than 30 users, not reported: 1",
        "| rank 500 | 200 | 1.234 | 3.500 |",
        "61.2 s",
        "118.5 s",
        "512 MiB",
        "100,000",
        '"epochs": 3',
        "recommendations-retrieval@3",
        card.identity,
    ):
        assert part in text, part
    assert "| fi |" not in text  # too small to be reported


def test_the_json_is_strict_and_holds_the_same_figures(card):
    document = json.loads(json.dumps(card_json(card), allow_nan=False))
    assert document["metrics"][1]["rows"][0]["figures"]["ndcg@10"]["low"] == 0.05
    assert document["metrics"][1]["too_small_groups"] == 1
    assert document["cost_of_training"]["peak_memory_bytes"] == 512 * 1024**2
    assert document["latency"][0]["p99_ms"] == 3.5
    assert document["limits"] == ["Not for pricing."]


def test_the_same_facts_give_the_same_bytes(card):
    assert card_markdown(card) == card_markdown(replace(card))
    assert card_json(card) == card_json(replace(card))


def test_the_identity_is_of_the_recipe_and_not_of_the_run(card):
    slower = replace(card, cost=replace(card.cost, wall_s=999.0), latencies=(), tables=())
    assert slower.identity == card.identity
    others = (
        replace(card, name="recommendations-retrieval"),
        replace(card, settings_fingerprint="t" * 64),
        replace(card, data=replace(card.data, fingerprint="e" * 64)),
    )
    assert len({card.identity, *(other.identity for other in others)}) == 4


def test_names_from_data_stay_in_their_cell(card):
    rows = tuple(FigureRow(name, 40, figures(0.1)) for name in (HOSTILE, "", "a" * 500))
    text = card_markdown(replace(card, tables=(FigureTable("By " + HOSTILE, rows),)))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "<script" not in text.split("### By")[1].split("\n", 1)[1]
    row = next(line for line in text.splitlines() if "x\\|y" in line and line.startswith("|"))
    assert row.count("|") - row.count("\\|") == 4
    assert "\n# heading" not in text
    assert max(map(len, text.splitlines())) < 400


def test_a_table_of_many_groups_is_bounded_and_says_so(card):
    rows = tuple(FigureRow(f"g{row}", 40, figures(0.1)) for row in range(MAXIMUM_ROWS + 25))
    text = card_markdown(replace(card, tables=(FigureTable("By group", rows),)))
    assert "25 more groups" in text
    assert f"| g{MAXIMUM_ROWS - 1} |" in text
    assert f"| g{MAXIMUM_ROWS} |" not in text


def test_a_peak_that_may_be_of_earlier_work_is_marked(card):
    text = card_markdown(replace(card, cost=replace(card.cost, peak_since_start=True)))
    assert "since the process started" in text


def test_without_users_the_card_says_that_nothing_was_timed(card):
    assert "Not measured" in card_markdown(replace(card, latencies=()))
