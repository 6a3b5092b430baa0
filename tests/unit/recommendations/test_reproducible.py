from __future__ import annotations

import pytest
import torch

from services.recommendations.training.reproducible import reproducible_operations

REPEATS = 5


def gradient() -> bytes:
    """Of a table that many rows share: torch sums it in several threads, by default in any order."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(8, 64, generator=generator, requires_grad=True)
    rows = torch.randint(0, 8, (2048,), generator=generator)
    (table[rows] * torch.randn(2048, 64, generator=generator)).sum().backward()
    return table.grad.numpy().tobytes()


@pytest.mark.usefixtures("two_threads")
def test_a_gradient_is_the_same_to_the_bit_each_time():
    with reproducible_operations():
        assert len({gradient() for _ in range(REPEATS)}) == 1


def test_torch_is_left_as_it_was_also_after_an_error():
    def fails():
        with reproducible_operations():
            assert torch.are_deterministic_algorithms_enabled()
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        fails()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_on_a_gpu_nothing_changes():
    with reproducible_operations("cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
