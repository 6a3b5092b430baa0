"""Where the model stages of a service run."""

from __future__ import annotations

from enum import StrEnum


class Placement(StrEnum):
    """The code of the stages and their interfaces are the same in both."""

    TOGETHER = "together"
    """In the gateway's process: no hop between processes, and every gateway replica holds every model."""
    APART = "apart"
    """Each as a deployment of its own, with its own replicas and autoscaling."""
