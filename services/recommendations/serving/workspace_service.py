"""What a service over a workspace's folders is made of: one definition for whoever starts one."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from services.recommendations.contracts.placement import Placement
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.gateway.settings import GatewayParts
from services.recommendations.serving.application import GraphSettings
from services.recommendations.serving.model_source import ModelSource
from streamrec.command_line.composition import (
    acknowledged_since,
    erasure_files,
    open_event_log,
    open_feature_store,
    open_item_follower,
    read_events_on_unknown_items,
    registry_settings,
    traffic_files,
)
from streamrec.command_line.workspace import Workspace
from streamrec.documents.key_folder import KeyFolder

_MOST_GATEWAYS_BY_ITSELF: Final = 2
"""Each holds every model where the stages are together; a second one halves the wait for a turn."""


def workspace_graph(
    workspace: Workspace, placement: Placement = Placement.TOGETHER, gateways: int = 0
) -> GraphSettings:
    """The graph that follows the workspace's exposure prices and item log.

    Args:
        workspace: Where they lie.
        placement: Where the stages run.
        gateways: How many gateways answer. 0: where the stages are together one for each core, two at most;
            where they are apart what autoscaling finds.
    """
    prices = PriceFiles(
        document=workspace.exposure_prices,
        last_good_copy=workspace.exposure_prices_copy,
        public_keys=KeyFolder(workspace.keys).public_folder,
    )
    graph = GraphSettings(placement=placement, exposure_prices=prices, item_log=workspace.items)
    if placement is Placement.TOGETHER and not gateways:
        gateways = min(_MOST_GATEWAYS_BY_ITSELF, os.cpu_count() or 1)
    return graph.with_gateways(gateways) if gateways else graph


def workspace_models(workspace: Workspace) -> ModelSource:
    """Where the stages find the workspace's champions."""
    return ModelSource(registry_settings(workspace), traffic_files(workspace))


def gateway_parts(workspace: Workspace) -> GatewayParts:
    """What the gateway opens in its own process."""
    return GatewayParts(
        feature_store=partial(open_feature_store, workspace),
        event_log=partial(open_event_log, workspace),
        erasures=erasure_files(workspace),
        item_feed=partial(open_item_follower, workspace),
        set_aside=partial(read_events_on_unknown_items, workspace),
        acknowledged_since=partial(acknowledged_since, workspace),
    )
