"""Serves from a folder until it is told to stop; a program of its own, so that a test can kill it.

Usage: serve_process.py FOLDER PORT [--wait-for-models] [--together] [--online URL]
                        [--replicas DEPLOYMENT=N]... [--scaling-delays-s UP DOWN] [--slow-ranking]
                        [--registry URL] [--callers FILE] [--broken-ranking]
                        [--challenger-memory-bytes N] [--challengers-stay-s S]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from services.recommendations.contracts.placement import Placement
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.gateway.settings import GatewayParts
from services.recommendations.serving.application import ChallengerSettings, GraphSettings
from services.recommendations.serving.local_cluster import LocalServeSettings, serve_forever
from services.recommendations.serving.model_source import ModelSource
from streamrec.callers.settings import CallerSettings
from streamrec.erasure.erased_persons import ErasureFiles
from streamrec.events.reader import FileEventReader
from streamrec.events.records import QuarantinedEvent
from streamrec.events.unknown_items import events_on_unknown_items
from streamrec.events.write_ahead_log import WriteAheadLog
from streamrec.features.materialization import open_feature_store
from streamrec.features.new_actions import read_actions
from streamrec.features.settings import SQLITE, FeatureSettings
from streamrec.items.follower import ItemFollower
from streamrec.registry.mlflow_registry import RegistrySettings
from streamrec.rollout.traffic_files import TrafficFiles
from tests.failures import broken_ranking, slow_ranking


def waiting_events(folder: Path) -> Sequence[QuarantinedEvent]:
    return events_on_unknown_items(FileEventReader(folder), datetime.now(UTC))


def graph(
    folder: Path,
    placement: Placement,
    replicas: Mapping[str, int],
    scaling_delays_s: tuple[float, float] | None = None,
    callers: Path | None = None,
    challengers: ChallengerSettings | None = None,
) -> GraphSettings:
    """The graph, with so many replicas of the deployments that are named, neither more nor fewer.

    The others wait for ``scaling_delays_s`` before they grow and before they shrink; as usual where None.
    Where there is a file of ``callers``, the gateway asks for a token.
    """
    prices = PriceFiles(
        document=folder / "exposure_prices.json",
        last_good_copy=folder / "exposure_prices.last_good.json",
        public_keys=folder / "keys" / "public",
    )
    usual = GraphSettings(placement=placement, exposure_prices=prices, item_log=folder / "items")
    changed = dict(usual.replicas)
    if scaling_delays_s is not None:
        up_s, down_s = scaling_delays_s
        changed = {
            deployment: replace(settings, upscale_delay_s=up_s, downscale_delay_s=down_s)
            for deployment, settings in changed.items()
        }
    for deployment, count in replicas.items():
        changed[deployment] = replace(changed[deployment], min_replicas=count, max_replicas=count)
    gateway = replace(usual.gateway, callers=CallerSettings(callers))
    return replace(usual, replicas=changed, gateway=gateway, challengers=challengers or ChallengerSettings())


def main(
    folder: Path,
    port: int,
    graph: GraphSettings,
    *,
    wait_for_models: bool,
    online: str,
    registry: RegistrySettings,
) -> None:
    features = FeatureSettings(
        folder / "features", Path(__file__).resolve().parents[3] / "feature_repo", online
    )
    parts = GatewayParts(
        partial(open_feature_store, features),
        partial(WriteAheadLog, folder / "events"),
        ErasureFiles(folder / "erasures.json", folder / "secret", folder / "keys"),
        partial(read_actions, FileEventReader(folder / "events")),
        item_feed=partial(ItemFollower, folder / "items"),
        set_aside=partial(waiting_events, folder / "events"),
    )
    serve_forever(
        LocalServeSettings(port=port, wait_for_models=wait_for_models, graph=graph),
        ModelSource(registry, TrafficFiles(folder / "traffic", folder / "keys" / "public")),
        parts,
        lambda service: print(f"ready at {service.url} after {service.startup_s:.1f} s", flush=True),
    )
    print("stopped", flush=True)


def _count(text: str) -> tuple[str, int]:
    deployment, _, count = text.partition("=")
    return deployment, int(count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--wait-for-models", action="store_true")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--online", default=SQLITE)
    parser.add_argument("--registry", metavar="URL", help="of an MLflow server; else a folder")
    parser.add_argument("--replicas", type=_count, action="append", default=[])
    parser.add_argument("--scaling-delays-s", type=float, nargs=2, metavar=("UP", "DOWN"))
    parser.add_argument("--slow-ranking", action="store_true")
    parser.add_argument("--callers", type=Path, metavar="FILE", help="of who may ask; else everybody")
    parser.add_argument("--broken-ranking", action="store_true", help="challengers break as a file says")
    usual = ChallengerSettings()
    parser.add_argument("--challenger-memory-bytes", type=int, default=usual.memory_bytes)
    parser.add_argument("--challengers-stay-s", type=float, default=usual.gone_after_s)
    asked = parser.parse_args()
    if asked.broken_ranking:
        broken_ranking.install()
    if asked.slow_ranking:
        slow_ranking.install()
    main(
        asked.folder,
        asked.port,
        graph(
            asked.folder,
            Placement.TOGETHER if asked.together else Placement.APART,
            dict(asked.replicas),
            asked.scaling_delays_s,
            asked.callers,
            replace(
                usual,
                memory_bytes=asked.challenger_memory_bytes,
                gone_after_s=asked.challengers_stay_s,
            ),
        ),
        wait_for_models=asked.wait_for_models,
        online=asked.online,
        registry=RegistrySettings(asked.registry, None, asked.folder / "registry_cache")
        if asked.registry
        else RegistrySettings.embedded(asked.folder / "registry"),
    )
