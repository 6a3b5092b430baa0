"""How large the made-up world of a load test is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from streamrec.contracts.errors import InvalidInputError

_FORMAT: Final = 1
"""Of what is made from the settings: another one makes every kept workspace anew."""

MINIMUM_ITEMS: Final = 400
MAXIMUM_ITEMS: Final = 5_000_000
MAXIMUM_USERS: Final = 200_000


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """The world. The same settings make the same world.

    Attributes:
        item_count: Items of the catalogue.
        user_count: Users with a history, whose rows are materialised.
        longest_history: Most interactions of a user.
        median_history: Half of the users have fewer.
        seed: Of everything that is drawn.
    """

    item_count: int = 200_000
    user_count: int = 10_000
    longest_history: int = 200
    median_history: int = 40
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("item_count", MINIMUM_ITEMS, MAXIMUM_ITEMS),
            ("user_count", 10, MAXIMUM_USERS),
            ("longest_history", 1, self.item_count // 2),
            ("median_history", 1, self.longest_history),
            ("seed", 0, 2**31),
        ):
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError(name, f"must be in {low}..{high}")

    @property
    def key(self) -> str:
        """Names the world: items first, for people, then a digest of all settings."""
        document = json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True)
        return f"{self.item_count}-items-{hashlib.sha256(document.encode()).hexdigest()[:12]}"

    @staticmethod
    def user_id(number: int) -> str:
        """Id of a user with a history, ``number`` from 0."""
        return f"user-{number:06d}"
