"""The port by which long-running work reports its progress, without knowing how it is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows one piece of long work. The command line passes a bar, tests pass `SilentProgress`."""

    def start(self, description: str, total: int) -> None:
        """Begin a piece of work of ``total`` steps."""
        ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that ``steps`` more are done; ``note`` is a short text such as the current loss."""
        ...

    def finish(self, note: str = "") -> None:
        """End the piece of work."""
        ...


class SilentProgress:
    """Shows nothing."""

    def start(self, description: str, total: int) -> None:
        """Ignore the start."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Ignore the step."""

    def finish(self, note: str = "") -> None:
        """Ignore the end."""
