"""The small models that the tests of the closed loop make by hand."""

from __future__ import annotations

from tests.unit.closed_loop.conftest import models

__all__ = ["models"]
