"""The small world of the closed loop's unit tests."""

from __future__ import annotations

from tests.unit.closed_loop.conftest import models

__all__ = ["models"]
