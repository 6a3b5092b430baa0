"""The control plane's answers over the small platform of `tests.rolled_out`, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamrec.contracts.errors import StreamRecError
from tests.rolled_out import Platform


class ControlOfPlatform:
    """What `streamrec rollouts watch` asks; each drive lets half a minute pass."""

    def __init__(self, platform: Platform, *, requests: int = 1_000) -> None:
        self.platform, self.requests = platform, requests
        self.fails: list[StreamRecError] = []

    def drive(self) -> None:
        self.platform.pass_time(30.0, self.requests)

    def look(self, name: str) -> Mapping[str, Any]:
        if self.fails:
            raise self.fails.pop()
        look = self.platform.controller.look(name)
        return {
            "state": look.state.to_json(),
            "evidence": look.evidence.to_json(),
            "analysis": None if look.analysis is None else look.analysis.to_json(),
        }

    def history(self, name: str, after_seq: int = 0) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "seq": one.entry.seq,
                "at": one.entry.to_json()["at"],
                "actor": one.entry.actor,
                "role": one.entry.role.value,
                "kind": one.entry.kind.value,
                "reason": one.entry.reason,
                "state": one.state.to_json(),
            }
            for one in self.platform.controller.book.history(name, after_seq=after_seq)
        ]
