"""The same seed gives the same model: torch keeps the order of its sums while a stage trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible_operations(device: str | torch.device = "cpu") -> Iterator[None]:
    """Let torch use only operations that give the same bits each time, until the block ends.

    Without it the gradient of an indexed tensor is summed by several threads in whatever order they come
    (`torch.use_deterministic_algorithms`), and two runs of one seed drift apart. In one thread the models are
    then equal bit for bit; in several they mostly are, but the libraries below torch may share out a sum
    differently on a busy machine. On a GPU nothing changes: some of its operations have no such form.
    """
    if torch.device(device).type != "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    fill_before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    # The default writes every new tensor once more, which only hides a read of memory that nobody wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill_before  # type: ignore[attr-defined]
