"""Made-up rollouts through the real analysis: how often it errs, and how soon it finds a fault.

What may not go in: statistics of its own. What decides is `streamrec.rollout.analysis` and `.step`.
"""

from streamrec.rollout.simulation.all_simulations import simulate
from streamrec.rollout.simulation.result import SimulationResult

__all__ = ["SimulationResult", "simulate"]
