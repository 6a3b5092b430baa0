"""How every command ends, and which errors are nobody's wrong input.

0  passed        the verdict is passed, or the command judges nothing and did what it should
1  unforeseen    the verdict is error; a store, a server or a replica did not answer; a defect
2  wrong input   wrong usage, or input that cannot be used as it is: trying again does not help
3  failed        the verdict is failed
4  inconclusive  the verdict is inconclusive: not enough was measured to decide
"""

from __future__ import annotations

from enum import IntEnum

from streamrec.contracts.errors import StreamRecError


class ExitStatus(IntEnum):
    """Exit status of a command; the table is at the top of this module."""

    PASSED = 0
    UNFORESEEN = 1
    WRONG_INPUT = 2
    FAILED = 3
    INCONCLUSIVE = 4


def exit_status_of_error(error: StreamRecError) -> ExitStatus:
    """Exit status of a command that an error ended.

    An error that a retry may mend is none of the caller's doing (a store did not answer): unforeseen. Every
    other error raised on purpose says what is wrong with the usage, the input or what must be there first.
    """
    return ExitStatus.UNFORESEEN if error.retryable else ExitStatus.WRONG_INPUT
