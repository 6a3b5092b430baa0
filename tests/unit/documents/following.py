"""What the tests of followers share."""

from __future__ import annotations


class SwitchedKeys:
    """A key reader whose keys come, go and break while a follower uses it."""

    def __init__(self, trusted):
        self.trusted = trusted


def in_force(follower):
    return None if follower.current is None else (follower.current.revision, follower.current.value)
