"""Random draws that can be made again: the seed of a request's draw comes from the request alone."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*parts: str) -> int:
    """Return the first 64 bits of the SHA-256 of ``parts``, the same on every machine."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator_for(*parts: str) -> np.random.Generator:
    """Return a generator seeded by `seed_of` ``parts``."""
    return np.random.default_rng(seed_of(*parts))
