"""The segment hierarchy sampled by PyMC: the one module that knows PyMC, PyTensor and ArviZ.

The marginal likelihood and its gradient are NumPy (`hierarchy.log_likelihood`) wrapped as one operation.
PyTensor then has next to nothing to compile: without a C++ compiler it would run a large graph node by node
in Python, and its Numba backend would compile for longer than the sampler runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import arviz
import numpy as np
import pymc
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from threadpoolctl import threadpool_limits

from services.recommendations.cold_start.hierarchy import (
    Scales,
    SegmentStatistics,
    laplace_approximation,
    log_scale_likelihood,
    log_scale_prior,
    scales_of,
)
from streamrec.contracts.errors import PermanentError

MAXIMUM_R_HAT: Final = 1.01
"""Vehtari et al. 2021, "Rank-normalization, folding, and localization", sec. 4."""

MINIMUM_EFFECTIVE_SAMPLES: Final = 400.0
"""The same source: below 400, R-hat itself is not to be trusted."""


class UnreliablePosteriorError(PermanentError):
    """The sampler's diagnostics are bad: its draws are not the posterior, so no model may be made of them.

    Attributes:
        diagnostics: What was found.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        super().__init__(
            f"the cold-start posterior is not reliable: {diagnostics.divergences} divergences, "
            f"R-hat up to {diagnostics.maximum_r_hat:.4f} (at most {MAXIMUM_R_HAT}), effective sample size "
            f"down to {diagnostics.minimum_effective_samples:.0f} (at least "
            f"{MINIMUM_EFFECTIVE_SAMPLES:.0f}); "
            "nothing was registered. Raise ColdStartSettings.tune and draws, or lower hierarchy_dimensions"
        )
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class Diagnostics:
    """How far the draws can be trusted, worst value over all parameters."""

    divergences: int
    maximum_r_hat: float
    minimum_effective_samples: float

    @property
    def reliable(self) -> bool:
        """Whether a model may be made of the draws; a diagnostic that is not finite is a bad one."""
        return (
            self.divergences == 0
            and self.maximum_r_hat <= MAXIMUM_R_HAT
            and self.minimum_effective_samples >= MINIMUM_EFFECTIVE_SAMPLES
        )


@dataclass(frozen=True)
class SamplerSettings:
    """How NUTS runs.

    Attributes:
        chains: Independent chains, one after the other; R-hat compares them.
        tune: Adaptation steps of each chain, discarded.
        draws: Draws kept of each chain.
        target_accept: Higher takes smaller steps: slower, fewer divergences.
    """

    chains: int
    tune: int
    draws: int
    target_accept: float


def sample_scales(
    statistics: SegmentStatistics,
    settings: SamplerSettings,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Scales], Diagnostics]:
    """Draw the scales of the hierarchy from their posterior with NUTS.

    The prior of each scale is log-normal (`hierarchy.PRIOR`). NUTS sees the log scales shifted and scaled by
    the posterior's mode and curvature, which changes nothing but the speed: unit steps are right from the
    start.

    Args:
        statistics: The data.
        settings: Of the sampler.
        seed: Of its random numbers.
        advance: Called after every step of every chain, tuning included.

    Returns:
        Every draw, and how far they can be trusted. The caller decides; see `UnreliablePosteriorError`.
    """
    centre, width = laplace_approximation(statistics)
    prior_mean, prior_deviation = log_scale_prior(statistics)
    starts = np.random.default_rng(seed).normal(scale=1.5, size=(settings.chains, len(centre)))
    # The matrices are a few dozen rows wide: a second BLAS thread costs more than it computes.
    with threadpool_limits(limits=1, user_api="blas"), pymc.Model():
        standardised = pymc.Normal(
            "standardised", mu=(prior_mean - centre) / width, sigma=prior_deviation / width, shape=len(centre)
        )
        value, _ = _Likelihood(statistics)(centre + width * standardised)
        pymc.Potential("marginal_likelihood", value)
        trace = pymc.sample(
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            cores=1,
            init="adapt_diag",
            initvals=[{"standardised": start} for start in starts],
            random_seed=seed,
            target_accept=settings.target_accept,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
            compile_kwargs={"mode": Mode(linker="vm", optimizer="fast_run")},
            callback=lambda **_: advance(),
        )
    diagnostics = _diagnose(trace)
    draws = trace.posterior["standardised"].to_numpy().reshape(-1, len(centre))
    return [scales_of(statistics, centre + width * draw) for draw in draws], diagnostics


def _diagnose(trace: Any) -> Diagnostics:
    r_hat = arviz.rhat(trace)
    bulk, tail = arviz.ess(trace, method="bulk"), arviz.ess(trace, method="tail")
    return Diagnostics(
        divergences=int(trace.sample_stats["diverging"].sum()),
        maximum_r_hat=float(max(r_hat[name].max() for name in r_hat.data_vars)),
        minimum_effective_samples=float(
            min(ess[name].min() for ess in (bulk, tail) for name in ess.data_vars)
        ),
    )


class _Likelihood(Op):
    """`log_scale_likelihood` as a PyTensor operation: value and gradient in one evaluation."""

    __props__ = ()

    def __init__(self, statistics: SegmentStatistics) -> None:
        self.statistics = statistics

    def make_node(self, log_scales: Any) -> Apply:
        """Describe the operation to PyTensor."""
        return Apply(self, [pt.as_tensor_variable(log_scales)], [pt.dscalar(), pt.dvector()])

    def perform(
        self, node: Apply, inputs: list[NDArray[np.float64]], output_storage: list[list[Any]]
    ) -> None:
        """Evaluate."""
        del node
        value, gradient = log_scale_likelihood(self.statistics, inputs[0])
        output_storage[0][0] = np.asarray(value)
        output_storage[1][0] = gradient

    def L_op(self, inputs: list[Any], outputs: list[Any], output_grads: list[Any]) -> list[Any]:  # noqa: N802
        """Chain rule for the value; nothing differentiates the gradient again."""
        del inputs
        return [output_grads[0] * outputs[1]]
