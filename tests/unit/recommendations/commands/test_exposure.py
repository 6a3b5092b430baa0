from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.exposure_control.price_files import open_price_publisher
from services.recommendations.reranking.model import DiversityReranker
from streamrec.command_line import composition
from streamrec.contracts.items import Item
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.datasets.catalogue import Catalogue
from streamrec.events.file_event_log import FileEventLog
from streamrec.items.item_log import FileItemLog
from streamrec.registry.memory_registry import MemoryModelRegistry
from tests.made_events import an_impression
from tests.promoted import promote

LANGUAGES = ("en", "en", "en", "de", "sw", "unknown")
CATALOGUE = Catalogue(
    item_ids=tuple(f"i{row}" for row in range(6)),
    titles=("",) * 6,
    creator_ids=("a", "a", "b", "c", "d", "e"),
    creator_languages=LANGUAGES,
    topics=((),) * 6,
    published_at=np.full(6, "NaT", dtype="datetime64[s]"),
)


def serve(folder, count, served_at):
    log = FileEventLog(folder / "events")
    log.append(
        [
            an_impression(
                request_id=f"{served_at.timestamp()}-{number}",
                predicted_at=served_at,
                item_ids=("i0", "i1", "i3"),
            )
            for number in range(count)
        ]
    )
    log.close()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    language_of = dict(zip(CATALOGUE.item_ids, LANGUAGES, strict=True))
    prices = {"de": 0.001, "en": 0.0, "sw": 0.002}
    DiversityReranker(0.25, language_of=language_of, exposure_prices=prices).save(tmp_path / "artifact")
    registry = MemoryModelRegistry(tmp_path / "cache")
    tensor = TensorSpec("scores", "float32", (-1,))
    spec = ModelSpec(
        MODEL_NAMES["reranking"],
        ModelSignature((tensor,), (tensor,)),
        "data",
        "settings",
        metrics={"price_strength": 0.003, "price_strength_limit": 0.0031},
        slot=SLOTS["reranking"],
    )
    promote(tmp_path, registry, registry.register(spec, tmp_path / "artifact").ref)
    store = SimpleNamespace(item_table=lambda: SimpleNamespace(catalogue=CATALOGUE))
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: registry)
    monkeypatch.setattr(composition, "open_feature_store", lambda _workspace: store)
    return tmp_path


def test_the_report_counts_every_language_and_creator(workspace):
    serve(workspace, 4, datetime.now(UTC))
    shown = CliRunner().invoke(app, ["recommendations", "exposure", "report", "--workspace", str(workspace)])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"en +8 +0\.667", shown.stdout)
    assert re.search(r"sw +0 +0\.000", shown.stdout)
    assert re.search(r"creators +5 +\S+ +0\.400", shown.stdout)


def test_the_report_knows_the_items_that_were_put_and_removed_since_the_import(workspace):
    FileItemLog(workspace / "items").append([Item("i0", "", "a", "yo"), "i1", Item("i3", "", "new", "sw")])
    serve(workspace, 4, datetime.now(UTC))
    shown = CliRunner().invoke(app, ["recommendations", "exposure", "report", "--workspace", str(workspace)])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"yo +4 +0\.333", shown.stdout)
    assert re.search(r"en +4 +0\.333", shown.stdout)
    assert re.search(r"sw +4 +0\.333", shown.stdout)


def control(workspace, minimum_requests):
    command = [
        "recommendations",
        "exposure",
        "control",
        "--once",
        "--minimum-requests",
        str(minimum_requests),
    ]
    return CliRunner().invoke(app, [*command, "--workspace", str(workspace)])


def test_published_prices_are_bounded_by_the_validated_strength(workspace):
    serve(workspace, 20, datetime.now(UTC))
    shown = control(workspace, 20)
    assert shown.exit_code == 0, shown.output
    assert "limited_by_strength" in shown.stdout
    path = workspace / "exposure" / "exposure_prices.json"
    document = open_price_publisher(path, workspace / "keys").published().value
    assert document.strength == pytest.approx(0.0031)
    assert document.target_gini == 0.25
    assert set(document.prices) == {"de", "en", "sw"}
    assert document.prices["en"] == 0.0


def test_too_little_evidence_publishes_nothing_and_each_window_is_decided_once(workspace):
    path = workspace / "exposure" / "exposure_prices.json"
    serve(workspace, 19, datetime.now(UTC))
    assert "held_too_little_evidence" in control(workspace, 20).stdout
    assert not path.exists()
    serve(workspace, 1, datetime.now(UTC))
    assert control(workspace, 20).exit_code == 0
    published = path.read_bytes()
    assert "held_too_little_evidence" in control(workspace, 20).stdout
    assert path.read_bytes() == published


def test_impressions_from_before_the_champion_do_not_count(workspace):
    serve(workspace, 20, datetime.now(UTC) - timedelta(hours=1))
    assert "held_too_little_evidence" in control(workspace, 20).stdout


def test_unsigned_prices_of_an_earlier_release_do_not_serve_and_are_named(workspace):
    assert "not signed" not in control(workspace, 20).stdout
    old = workspace / "exposure" / "language_prices.json"
    old.write_text('{"format": 1, "revision": 7, "prices": {"de": 0.5}}')
    shown = control(workspace, 20)
    assert shown.exit_code == 0, shown.output
    assert f"{old} is not signed and does not serve; prices are published again" in shown.stdout
