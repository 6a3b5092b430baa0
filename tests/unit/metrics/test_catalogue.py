"""What `metrics.yaml` may say, and how what it may not say is refused: by the path, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.json_schemas import schema_texts
from streamrec.contracts.metrics.definitions import Dimension
from streamrec.metrics.catalogue import load_catalogue, parse_metrics, platform_catalogue

ROOT = Path(__file__).resolve().parents[3]
OF_SPOKES = sorted(ROOT.glob("services/*/metrics.yaml"))
PACKAGED = ROOT / "platform" / "streamrec" / "metrics" / "metrics.yaml"
CLICKS = {
    "owner": "search",
    "description": "Share of slates with a click",
    "unit": "share",
    "direction": "higher_is_better",
    "aggregation": "rate",
    "of": {"event": "outcome", "kinds": ["click"]},
    "per": {"event": "impression"},
}
PLAYS = CLICKS | {"aggregation": "mean"}
LATENCY = {name: CLICKS[name] for name in ("owner", "description", "unit", "direction")} | {
    "aggregation": "quantile",
    "quantile": 0.9,
    "of": {"event": "impression", "field": "extension.latency_ms"},
}


def a_file(metric=CLICKS, **more) -> bytes:
    return yaml.safe_dump({"metrics": {"mine": metric}, **more}).encode()


def changed(metric, **changes):
    return {name: value for name, value in (metric | changes).items() if value is not ...}


def test_the_platforms_own_metrics_are_there_and_fit_the_published_schema():
    names = [metric.name for metric in platform_catalogue()]
    assert names == sorted(names)
    assert {"click_rate", "plays_per_user", "fallback_rate", "latency_p99_ms"} <= set(names)
    schema = json.loads(schema_texts()["metrics.json"])
    for path in (PACKAGED, *OF_SPOKES):
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"metrics": {"mine": changed(CLICKS, owner=...)}}, schema)


@pytest.mark.parametrize("metric", [CLICKS, PLAYS, LATENCY])
def test_ten_lines_make_a_metric(metric):
    assert parse_metrics(a_file(metric)).metrics["mine"].minimum_sample == 100


WRONG = [
    (changed(CLICKS, owner=...), "metrics.mine.owner", "missing"),
    (changed(CLICKS, widow_hours=2), "metrics.mine.widow_hours", "did you mean 'window_hours'"),
    (changed(CLICKS, aggregation="median"), "metrics.mine.aggregation", "'mean', 'ratio', 'rate'"),
    (changed(CLICKS, of={"event": "purchase"}), "metrics.mine.of.event", "'impression', 'prediction'"),
    (changed(CLICKS, of={"event": "outcome"}), "metrics.mine.of.kinds", "say which outcomes"),
    (
        changed(CLICKS, of={"event": "outcome", "kinds": ["Click!"]}),
        "metrics.mine.of.kinds.0",
        "pattern",
    ),
    (
        changed(PLAYS, of={"event": "outcome", "kinds": ["play"], "field": "seconds"}),
        "metrics.mine.of.field",
        "use value",
    ),
    (
        changed(LATENCY, of={"event": "impression", "field": "latency_ms"}),
        "metrics.mine.of.field",
        "extension.NAME",
    ),
    (changed(LATENCY, of={"event": "impression"}), "metrics.mine.of.field", "one of a number"),
    (changed(LATENCY, quantile=...), "metrics.mine.quantile", "must be there"),
    (changed(LATENCY, quantile=1.0), "metrics.mine.quantile", "less than 1"),
    (changed(LATENCY, per={"event": "impression"}), "metrics.mine.per", "leave it out"),
    (changed(CLICKS, per=...), "metrics.mine.per", "counted against"),
    (changed(CLICKS, per={"event": "outcome", "kinds": ["play"]}), "metrics.mine.per.event", "share of"),
    (changed(CLICKS, per={"event": "prediction"}), "metrics.mine.per.event", "belong to impressions"),
    (changed(CLICKS, of={"event": "impression"}), "metrics.mine.of.where", "condition"),
    (
        changed(CLICKS, of={"event": "impression", "where": [{"field": "clicked", "equals": [True]}]}),
        "metrics.mine.of.where.0.field",
        "use slot, role",
    ),
    (
        changed(CLICKS, of={"event": "impression", "where": [{"field": "slot"}]}),
        "metrics.mine.of.where.0",
        "exactly one",
    ),
    (
        changed(CLICKS, of={"event": "outcome", "kinds": ["click"], "joined": False}),
        "metrics.mine.of.joined",
        "must be true",
    ),
    (changed(CLICKS, capping={"at": 3, "per": "event"}), "metrics.mine.capping", "no meaning"),
    (changed(PLAYS, capping={"at": 0, "per": "event"}), "metrics.mine.capping.at", "greater than 0"),
    (changed(PLAYS, window_hours=1000), "metrics.mine.window_hours", "less than or equal to 168"),
    (changed(PLAYS, minimum_sample=1), "metrics.mine.minimum_sample", "greater than or equal to 2"),
    (changed(PLAYS, minimum_sample="many"), "metrics.mine.minimum_sample", "integer"),
]


@pytest.mark.parametrize(("metric", "path", "words"), WRONG)
def test_what_is_wrong_is_refused_by_its_path(metric, path, words):
    with pytest.raises(InvalidInputError) as refused:
        parse_metrics(a_file(metric))
    assert refused.value.field == path
    assert words in refused.value.problem


@pytest.mark.parametrize(
    ("dimension", "path", "words"),
    [
        ({"field": "slot"}, "dimensions.split.maximum_values", "needs one bound"),
        (
            {"field": "slot", "values": ["a"], "maximum_values": 3},
            "dimensions.split.maximum_values",
            "not both",
        ),
        ({"field": "unit", "maximum_values": 10}, "dimensions.split.field", "use slot, role"),
        ({"field": "slot", "maximum_values": 10**7}, "dimensions.split.maximum_values", "less than"),
    ],
)
def test_a_dimension_needs_a_bound_and_a_field_that_is_known(dimension, path, words):
    with pytest.raises(InvalidInputError) as refused:
        parse_metrics(a_file(dimensions={"split": {"description": "d"} | dimension}))
    assert refused.value.field == path
    assert words in refused.value.problem


def test_a_key_that_comes_twice_and_an_alias_are_refused():
    with pytest.raises(InvalidInputError, match="repeats the key"):
        parse_metrics(b"metrics: {}\nmetrics: {}\n")
    with pytest.raises(InvalidInputError, match="aliases"):
        parse_metrics(b"metrics: &a {}\ndimensions: *a\n")


def test_a_workspace_adds_metrics_and_cannot_change_what_one_of_the_platform_means(tmp_path):
    path = tmp_path / "metrics.yaml"
    assert len(list(load_catalogue([path]))) == len(list(platform_catalogue()))
    path.write_bytes(a_file())
    assert load_catalogue([path]).metric("mine").definition.owner == "search"
    path.write_bytes(yaml.safe_dump({"metrics": {"click_rate": CLICKS}}).encode())
    with pytest.raises(InvalidInputError, match="choose another name") as refused:
        load_catalogue([path])
    assert refused.value.field == f"{path}: metrics.click_rate"
    path.write_bytes(a_file(changed(CLICKS, unit=...)))
    with pytest.raises(InvalidInputError) as refused:
        load_catalogue([path])
    assert refused.value.field == f"{path}: metrics.mine.unit"


def test_names_that_nobody_knows_are_answered_with_those_that_may_be_meant():
    catalogue = platform_catalogue()
    with pytest.raises(NotFoundError, match="did you mean 'click_rate'"):
        catalogue.metric("click_rat")
    with pytest.raises(InvalidInputError, match="did you mean 'version'"):
        catalogue.dimension("versions")
    with pytest.raises(InvalidInputError, match="variant:EXPERIMENT"):
        catalogue.dimension("variant")
    for name in ("slot:search.ranking", "version:Not A Slot", "variant:a b"):
        with pytest.raises(InvalidInputError):
            catalogue.dimension(name)


def test_a_dimension_may_name_one_slot_or_one_experiment():
    catalogue = platform_catalogue()
    assert catalogue.dimension("version:search.ranking").field == "versions.search.ranking"
    assert catalogue.dimension("variant:search-colour").field == "variants.search-colour"
    assert isinstance(catalogue.dimension("role"), Dimension)


def test_the_digest_tells_every_change_of_meaning():
    def digest(metric):
        catalogue_file = parse_metrics(a_file(metric))
        return type(next(iter(platform_catalogue())))("mine", catalogue_file.metrics["mine"]).digest

    assert digest(CLICKS) == digest(dict(reversed(CLICKS.items())))
    assert digest(CLICKS) != digest(changed(CLICKS, window_hours=12.0))


def test_the_metric_that_the_architecture_page_shows_is_one():
    page = (ROOT / "docs" / "architecture.md").read_text()
    lines = page.split("A metric is ten lines:\n\n")[1].split("\n\n")[0].splitlines()
    metrics = parse_metrics("\n".join(line.removeprefix("    ") for line in lines).encode()).metrics
    assert metrics["purchases_per_user"].capping.at == 20
    assert len(lines) == 10
