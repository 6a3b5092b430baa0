"""Puts the figures of a run together: `summary.json`, which the report and the terminal table are made of."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

import streamrec
from services.cli.demo.client import GATEWAY_REST, OUTSIDE_GATEWAY
from services.cli.demo.measurements import (
    exposure_gini,
    language_exposure,
    latency_histogram,
    served_figures,
    share_interval,
    stage_figures,
)
from services.cli.demo.offline_check import Agreement
from services.cli.demo.phases import Phase
from services.cli.demo.source import PreparedData
from services.cli.demo.traffic import Exchange, TrafficResult, event_totals, first_answer_hits
from services.recommendations.contracts.stages import STAGES
from streamrec.command_line.tables import interval_text
from streamrec.contracts.intervals import interval_json
from streamrec.datasets.catalogue import Catalogue
from streamrec.registry.model_registry import ModelVersion
from streamrec.training.baselines import BASELINES

_SAMPLES: Final = 3
_SAMPLE_HISTORY: Final = 5


@dataclass(frozen=True)
class TrainedModel:
    """One stage's champion.

    Attributes:
        reused: Whether the version was there before this run.
        seconds: Time of training it or finding it.
    """

    stage: str
    version: ModelVersion
    reused: bool
    seconds: float


@dataclass(frozen=True)
class RunFacts:
    """How the run was asked for and how long it took."""

    command: str
    seed: int
    k: int
    finished_at: datetime
    phases: Sequence[Phase]
    total_s: float


class Deployment(Protocol):
    """What the gates said of one version (`services.cli.demo.deployment`)."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


class Loop(Protocol):
    """What the loop brought (`services.cli.demo.loop`)."""

    @property
    def deployed(self) -> Sequence[Deployment]:
        """What the gates said of the versions that it trained."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


@dataclass(frozen=True)
class ServedTraffic:
    """What happened while the server ran.

    Attributes:
        agreement: Of the check before the traffic.
        traffic: What the clients saw.
        warm_up_requests: Requests before the check that nobody measured.
        behaviour: How users behave, for people.
        held_out: Test item by user id where interactions were replayed, else empty.
        histories: Items of some users before the traffic, oldest first, by user id.
        relevance_order: Slates without re-ranking by user id.
        log: Impressions and outcomes read back from the event log.
        loop: What came back: a new item, models that learned from the traffic, a promotion.
    """

    agreement: Agreement
    traffic: TrafficResult
    warm_up_requests: int
    behaviour: str
    held_out: Mapping[str, str]
    histories: Mapping[str, Sequence[str]]
    relevance_order: Mapping[str, Sequence[str]]
    log: Mapping[str, int]
    loop: Loop


def build_summary(
    run: RunFacts,
    data: PreparedData,
    models: Sequence[TrainedModel],
    evaluation: Mapping[str, Any],
    served: ServedTraffic,
    deployed: Sequence[Deployment] = (),
) -> dict[str, Any]:
    """Assemble everything; the result is strict JSON."""
    records = served.traffic.records
    catalogue = data.dataset.catalogue
    exposure = exposure_part(served, catalogue)
    return {
        "run": _run_part(run, data),
        "data": {
            "user_count": len(data.dataset.users),
            "item_count": len(catalogue),
            "interaction_count": len(data.dataset.interactions),
            "language_count": len(catalogue.languages),
            "fingerprint": data.dataset.fingerprint,
            "files": list(data.files),
            "world": data.world,
        },
        "phases": [{"name": phase.name, "seconds": round(phase.seconds, 2)} for phase in run.phases],
        "models": [_model_part(model) for model in models],
        "offline": dict(evaluation),
        "served": served_figures(records),
        "stages": stage_figures(records, order=(*STAGES, GATEWAY_REST, OUTSIDE_GATEWAY)),
        "latency_histogram": latency_histogram(records),
        "exposure_gini": exposure.pop("served_gini"),
        "exposure": exposure,
        "served_equals_offline": served.agreement.to_json(),
        "served_hit_at_10": interval_json(
            share_interval(first_answer_hits(served.traffic.exchanges, served.held_out), run.seed)
        ),
        "traffic": traffic_part(served),
        "events": {**event_totals(served.traffic.exchanges), "log": dict(served.log)},
        "deployments": [one.to_json() for one in (*deployed, *served.loop.deployed)],
        "loop": served.loop.to_json(),
        "samples": samples(served, catalogue),
    }


def loop_rows(loop: dict[str, Any]) -> list[tuple[str, str]]:
    """What came back while the service ran, for people."""
    item, relearned, promotion = loop["new_item"], loop["relearned"], loop["promotion"]
    return [
        ("a new item is recommended after", _seconds(item["recommended_after_s"])),
        ("removed, it is gone after", _seconds(item["gone_after_s"])),
        ("interactions from the event log", f"{relearned['events_added']:,}"),
        ("two-tower NDCG@10 before the traffic", interval_text(relearned["before"])),
        ("trained on the traffic too", interval_text(relearned["after"])),
        ("difference, same users", interval_text(relearned["difference"])),
        ("promotion under traffic: in force after", _seconds(promotion["in_force_after_s"])),
        (
            "requests, errors, mixed slates meanwhile",
            f"{promotion['requests']:,}, {promotion['errors']:,}, {promotion['mixed']:,}",
        ),
    ]


def _seconds(seconds: float | None) -> str:
    return "not within 10 s" if seconds is None else f"{seconds:.2f} s"


def exposure_part(served: ServedTraffic, catalogue: Catalogue) -> dict[str, Any]:
    """Exposure by creator language: of all slates, and before and after re-ranking for the same users."""
    language_of = dict(zip(catalogue.item_ids, catalogue.creator_languages, strict=True))
    languages = catalogue.languages
    answered = [exchange for exchange in served.traffic.exchanges if exchange.record.answered]
    everything = language_exposure(
        (exchange.record.item_ids for exchange in answered), language_of, languages
    )
    first = {
        exchange.visit.user_id: exchange.record.item_ids
        for exchange in answered
        if exchange.visit.number == 0 and exchange.visit.user_id in served.relevance_order
    }
    before = language_exposure((served.relevance_order[user] for user in first), language_of, languages)
    after = language_exposure(first.values(), language_of, languages)
    catalogue_counts = np.bincount(catalogue.language_codes, minlength=len(languages)).astype(np.float64)
    return {
        "served_gini": exposure_gini(everything),
        "relevance_order_gini": exposure_gini(before),
        "same_users_served_gini": exposure_gini(after),
        "same_users": len(first),
        "languages": [
            {
                "language": language,
                "catalogue_share": share,
                "served_share": served_share,
                "relevance_order_share": before_share,
                "same_users_served_share": after_share,
            }
            for language, share, served_share, before_share, after_share in zip(
                languages,
                _shares(catalogue_counts),
                _shares(everything),
                _shares(before),
                _shares(after),
                strict=True,
            )
        ]
        if answered
        else [],
    }


def traffic_part(served: ServedTraffic) -> dict[str, Any]:
    """How the traffic was made, and how often users did something with an answer."""
    result = served.traffic
    part: dict[str, Any] = {
        "clients": result.clients,
        "wall_s": round(result.wall_s, 2),
        "requests_per_second": round(len(result.exchanges) / result.wall_s, 2) if result.wall_s > 0 else None,
        "warm_up_requests": served.warm_up_requests,
        "behaviour": served.behaviour,
    }
    for name, known in (("known_users", True), ("new_users", False)):
        answered = [
            exchange
            for exchange in result.exchanges
            if exchange.visit.known_user is known and exchange.record.answered
        ]
        acted = sum(exchange.events.sent > 0 for exchange in answered)
        part[f"{name}_acted_share"] = round(acted / len(answered), 6) if answered else None
    return part


def samples(served: ServedTraffic, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Some slates with titles: first answers of known users, and a late answer of a new user."""
    exchanges = [exchange for exchange in served.traffic.exchanges if exchange.record.answered]
    known = [
        exchange
        for exchange in exchanges
        if exchange.visit.number == 0 and served.histories.get(exchange.visit.user_id)
    ]
    new = sorted(
        (exchange for exchange in exchanges if not exchange.visit.known_user),
        key=lambda exchange: -exchange.visit.number,
    )
    chosen = known[: _SAMPLES - 1] + new[:1]
    return [_sample(exchange, served.histories, catalogue) for exchange in chosen]


def _sample(
    exchange: Exchange, histories: Mapping[str, Sequence[str]], catalogue: Catalogue
) -> dict[str, Any]:
    history = histories.get(exchange.visit.user_id, ())
    rows = catalogue.rows(exchange.record.item_ids).tolist()
    return {
        "user_id": exchange.visit.user_id,
        "known_user": exchange.visit.known_user,
        "answer_number": exchange.visit.number + 1,
        "history": [catalogue.titles[row] for row in catalogue.rows(history[-_SAMPLE_HISTORY:]).tolist()][
            ::-1
        ],
        "slate": [
            {
                "title": catalogue.titles[row],
                "language": catalogue.creator_languages[row],
                "topics": list(catalogue.topics[row][:3]),
            }
            for row in rows
        ],
    }


def _run_part(run: RunFacts, data: PreparedData) -> dict[str, Any]:
    return {
        "source": data.kind.value,
        "source_name": data.name,
        "source_description": data.description,
        "seed": run.seed,
        "k": run.k,
        "finished_at": run.finished_at.strftime("%Y-%m-%d %H:%M UTC"),
        "total_s": round(run.total_s, 1),
        "command": run.command,
        "version": streamrec.__version__,
        "baselines": list(BASELINES),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
    }


def _model_part(model: TrainedModel) -> dict[str, Any]:
    version = model.version
    return {
        "stage": model.stage,
        "name": version.ref.name,
        "version": version.ref.version,
        "reused": model.reused,
        "seconds": round(model.seconds, 2),
        "metrics": {name: float(value) for name, value in version.metrics.items() if np.isfinite(value)},
        "artifact_digest": version.artifact_digest,
        "data_fingerprint": version.data_fingerprint,
        "settings_fingerprint": version.settings_fingerprint,
    }


def _shares(amounts: NDArray[np.float64]) -> list[float | None]:
    total = amounts.sum()
    return [float(amount / total) if total > 0 else None for amount in amounts]
