"""Two promotions of one slot at the same moment: one wins, the other is told so (failure case 21).

A hundred times: ``tests/scenarios/test_two_promotions.py``.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from streamrec.contracts.errors import ConflictError
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.ledger.sql_ledger import SqlLedger
from streamrec.ledger.verification import verify
from streamrec.rollout.requests import Ask
from tests.rolled_out import NOON, OPS, RANKING, Platform


def race(tmp_path, times):
    """Two processes' controllers promote at once, ``times`` times; after each the winner is taken back."""
    ledger = SqlLedger.in_file(tmp_path / "ledger.sqlite", clock=lambda: NOON)
    platform = Platform(tmp_path, ledger=ledger)
    first = platform.register("ranking")
    platform.writer.promote([first], actor="ana")
    contenders = [platform.register("ranking") for _ in range(2)]
    # Each with a ledger and a controller of its own, as two processes have them.
    ledgers = [SqlLedger.in_file(tmp_path / "ledger.sqlite", clock=lambda: NOON) for _ in contenders]
    desks = [platform.new_controller(ledger=own) for own in ledgers]
    wins = [0, 0]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(times):
            together = threading.Barrier(2)

            def promote(number: int, together: threading.Barrier = together) -> str:
                together.wait()
                try:
                    return desks[number].promote([contenders[number]], OPS).rollout
                except ConflictError:
                    return ""

            won = [rollout for rollout in threads.map(promote, range(2)) if rollout]
            assert len(won) == 1
            platform.pass_time(1.0)
            platform.pass_time(1.0)
            state = platform.controller.book.get(won[0])
            assert state.phase is RolloutPhase.WATCH
            assert platform.serving() == {RANKING: state.challengers[0]}
            wins[contenders.index(state.challengers[0])] += 1
            platform.controller.request(won[0], Ask.ROLLBACK, OPS)
            platform.pass_time(1.0)
            assert platform.serving() == {RANKING: first}
    assert sum(wins) == times
    assert verify(ledger.stored()).bad is None


def test_one_wins_and_there_is_one_champion(tmp_path):
    race(tmp_path, 10)
