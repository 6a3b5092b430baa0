"""Whether a service tells its callers apart, and limits them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamrec.contracts.callers import CallerLimit


@dataclass(frozen=True, slots=True)
class CallerSettings:
    """Whether callers are told apart, and limited.

    Attributes:
        file: The callers file; None lets everybody in.
        anonymous_limit: Of all callers together where there is no file; None limits nobody.
    """

    file: Path | None = None
    anonymous_limit: CallerLimit | None = None

    def __post_init__(self) -> None:
        if self.file is not None and self.anonymous_limit is not None:
            raise ValueError("nobody is anonymous where there is a callers file: the limits stand in it")
