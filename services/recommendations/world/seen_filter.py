"""Which items a user has consumed, in a fixed two kilobytes a user."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LOG2_BITS: Final = 14
BITS: Final = 1 << _LOG2_BITS
"""Bits per user. With 50 items consumed, 0.3 % of the others are taken for consumed too (Bloom 1970 with one
hash function): what a feed loses by that is nothing, and no table of users x items is needed."""

_MULTIPLIER: Final = np.uint32(2_654_435_769)
"""2^32 divided by the golden ratio: multiplicative hashing (Knuth, TAOCP 3, 6.4)."""

_SHIFT: Final = np.uint32(32 - _LOG2_BITS)


class SeenFilter:
    """A Bloom filter per user: never misses a consumed item, now and then names one that was not."""

    def __init__(self, users: int) -> None:
        self._bytes = np.zeros((users, BITS // 8), dtype=np.uint8)

    def add(self, users: NDArray[np.int64], items: NDArray[np.int32]) -> None:
        """Mark ``items`` (n,) as consumed by ``users`` (n,)."""
        slot = _slots(items)
        np.bitwise_or.at(self._bytes, (users, slot >> 3), np.uint8(1) << (slot & 7).astype(np.uint8))

    def contains(self, users: NDArray[np.int64], items: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Shape (n, k): whether each of ``users`` (n,) has consumed each of ``items`` (n, k)."""
        slot = _slots(items)
        taken = self._bytes[users[:, None], slot >> 3] >> (slot & 7).astype(np.uint8)
        return np.asarray(taken & np.uint8(1), dtype=np.bool_)


def _slots(items: NDArray[np.int32]) -> NDArray[np.uint32]:
    return (items.astype(np.uint32) * _MULTIPLIER) >> _SHIFT
