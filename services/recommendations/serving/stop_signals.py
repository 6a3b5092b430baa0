"""SIGINT and SIGTERM as a wish to stop, which is heard whatever Ray does with signals."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Final, Self

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Sets an event when a signal comes. For the main thread; as a context manager.

    Ray's library puts a handler of its own before ours when it is started. At SIGTERM that one writes its
    stack, calls ours, and has the process aborted three seconds later, whatever it is doing then: in the
    middle of an orderly stop. So `listen` has to be called again once Ray is there, and the alarm of a signal
    that came before that is taken back.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._before = {number: signal.getsignal(number) for number in _NUMBERS}

    def __enter__(self) -> Self:
        """Listen from now on."""
        self.listen()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Hand the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Be the first to hear the signals, again."""
        for number in _NUMBERS:
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        signal.alarm(0)
        self.asked.set()  # a second Ctrl-C changes nothing: it must not leave processes behind
