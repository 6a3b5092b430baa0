"""From the network that learned to the weights that serve."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.runtime import Array, StudentWeights


def serving_weights(network: StudentNetwork) -> StudentWeights:
    """Compute every item's key and value, and fold the constant factors into the matrices."""
    settings = network.settings
    scale = 1.0 / math.sqrt(settings.dimension // settings.head_count)
    with torch.inference_mode():
        return StudentWeights(
            inputs=_array(network.inputs),
            keys=_array(network.key(network.inputs)),
            values=_array(network.value(network.inputs)),
            outputs=_array(network.outputs),
            biases=_array(network.biases),
            pool_weights=_array(network.pool_log_weights.exp()),
            lag_biases=_array(network.lag_biases),
            query=_array(network.query.weight * scale),
            query_bias=_array(network.query.bias * scale),
            state=_array(
                torch.cat([network.direct.weight, network.expand.weight * network.norm.weight[None, :]])
            ),
            direct_bias=_array(network.direct.bias),
            hidden_bias=_array(network.expand.bias),
            contract=_array(network.contract.weight),
            segments=tuple(_without_unknown(_array(table)) for table in network.segments),
        )


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32).copy()


def _without_unknown(table: Array) -> Array:
    table[0] = 0.0
    return table
