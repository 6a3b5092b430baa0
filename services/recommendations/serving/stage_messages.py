"""What the gateway and a stage send each other between processes: small, typed, and nothing that runs code.

A message is MessagePack: ids as one list of texts, scores as the bytes of a float32 array. A stage that only
puts candidates into another order answers with their positions instead of naming them again.
"""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.stages import StageReply, StageStatus
from services.recommendations.pipeline.stage_calls import UnusableAnswerError

OUT_OF_TIME: Final = b""
"""The answer to a call that nobody waits for any more. No error: it would be written down for each."""

_POSITION: Final = np.dtype("<u2")
_SCORE: Final = np.dtype("<f4")


class UnreadableMessageError(UnusableAnswerError):
    """The other side sent what is no message of this kind: it runs other code, or is not what it seems."""


def pack_find(user: UserState, count: int, request_id: str, version: int) -> bytes:
    """A request for candidates; ``request_id`` is empty for a stage that draws nothing.

    What the user skipped is left out: it lowers candidates once they are found.
    """
    return _pack(_what_finds(user), count, request_id, version)


def unpack_find(message: bytes) -> tuple[UserState, int, str, int]:
    """Return user, count, request id and version.

    Raises:
        UnreadableMessageError: It is none.
    """
    user, count, request_id, version = _unpack(message, 4)
    return _user_of(user), int(count), str(request_id), int(version)


def pack_rank(user: UserState, candidates: Candidates, version: int) -> bytes:
    """A request for scores. What the user is not to see is left out too: no candidate is among it."""
    return _pack(_what_ranks(user), *_candidate_fields(candidates), version)


def unpack_rank(message: bytes) -> tuple[UserState, Candidates, int]:
    """Return user, candidates and version.

    Raises:
        UnreadableMessageError: It is none.
    """
    user, item_ids, scores, version = _unpack(message, 4)
    return _user_of(user), _candidates_of(item_ids, scores), int(version)


def pack_rerank(
    candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int, version: int
) -> bytes:
    """A request for the order to be shown; of the user as in `pack_rank`."""
    return _pack(_what_ranks(user), *_candidate_fields(candidates), current_latency_ms, slate_length, version)


def unpack_rerank(message: bytes) -> tuple[Candidates, UserState, float, int, int]:
    """Return candidates, user, milliseconds spent, length of the slate and version.

    Raises:
        UnreadableMessageError: It is none.
    """
    user, item_ids, scores, spent_ms, slate_length, version = _unpack(message, 6)
    return (
        _candidates_of(item_ids, scores),
        _user_of(user),
        float(spent_ms),
        int(slate_length),
        int(version),
    )


def pack_found(reply: StageReply, waited_ms: float = 0.0) -> bytes:
    """The answer of a stage that finds candidates; ``waited_ms`` is what the call waited for its turn."""
    return _pack(*_candidate_fields(reply.candidates), *_about(reply, waited_ms))


def unpack_found(message: bytes) -> StageReply:
    """Return the answer.

    Raises:
        UnreadableMessageError: It is none.
    """
    item_ids, scores, *about = _unpack(message, 7)
    return _reply(_candidates_of(item_ids, scores), about)


def pack_reordered(reply: StageReply, asked: Candidates, waited_ms: float = 0.0) -> bytes:
    """The answer of a stage that was asked for another order of candidates; see `pack_found`.

    Raises:
        KeyError: It holds an item that it was not asked about.
    """
    position_of = {item_id: position for position, item_id in enumerate(asked.item_ids)}
    positions = np.array(list(map(position_of.__getitem__, reply.candidates.item_ids)), dtype=_POSITION)
    return _pack(positions.tobytes(), _bytes_of(reply.candidates.scores), *_about(reply, waited_ms))


def unpack_reordered(message: bytes, asked: Candidates) -> StageReply:
    """Return the answer, with the items of ``asked`` at the positions that it names.

    Raises:
        UnreadableMessageError: It is none, or names a position that there is not.
    """
    packed, scores, *about = _unpack(message, 7)
    try:
        positions = np.frombuffer(packed, dtype=_POSITION).tolist()
        item_ids = tuple(map(asked.item_ids.__getitem__, positions))
    except (IndexError, TypeError, ValueError) as error:
        raise UnreadableMessageError(f"positions that were not asked about ({error})") from error
    return _reply(_candidates_of(item_ids, scores), about)


def pack_status(status: StageStatus) -> bytes:
    """Whether a replica can answer."""
    return _pack(status.name, status.version, status.problem)


def unpack_status(message: bytes) -> StageStatus:
    """Return the status.

    Raises:
        UnreadableMessageError: It is none.
    """
    name, version, problem = _unpack(message, 3)
    return StageStatus(name, version, problem)


def _pack(*fields: Any) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _unpack(message: bytes, count: int) -> tuple[Any, ...]:
    try:
        fields = msgpack.unpackb(message, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableMessageError(f"no MessagePack ({type(error).__name__})") from error
    if not isinstance(fields, tuple) or len(fields) != count:
        raise UnreadableMessageError(f"a message of {count} fields was expected")
    return fields


def _what_finds(user: UserState) -> tuple[Any, ...]:
    return (user.user_id, astuple(user.segment), user.history, user.disliked, user.shown)


def _what_ranks(user: UserState) -> tuple[Any, ...]:
    return (user.user_id, astuple(user.segment), user.history, (), ())


def _user_of(fields: Any) -> UserState:
    try:
        user_id, segment, history, disliked, shown = fields
        return UserState(user_id, Segment(*segment), history, disliked, shown=shown)
    except (TypeError, ValueError) as error:
        raise UnreadableMessageError(f"no user ({error})") from error


def _candidate_fields(candidates: Candidates) -> tuple[tuple[str, ...], bytes]:
    return candidates.item_ids, _bytes_of(candidates.scores)


def _bytes_of(scores: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(scores, dtype=_SCORE).tobytes()


def _candidates_of(item_ids: Any, scores: Any) -> Candidates:
    try:
        # A copy: what a message holds cannot be written to.
        return Candidates(item_ids, np.frombuffer(scores, dtype=_SCORE).astype(np.float32))
    except (TypeError, ValueError) as error:
        raise UnreadableMessageError(f"no candidates ({error})") from error


def _about(reply: StageReply, waited_ms: float) -> tuple[int, int | None, int, bool, float]:
    model_ms = reply.model_ms + waited_ms
    return reply.version, reply.price_revision, reply.item_revision, reply.in_full, model_ms


def _reply(candidates: Candidates, about: list[Any]) -> StageReply:
    version, price_revision, item_revision, in_full, model_ms = about
    if not (isinstance(model_ms, float) and 0.0 <= model_ms < math.inf):
        raise UnreadableMessageError(f"a model's time of {model_ms!r} ms")
    return StageReply(candidates, version, price_revision, item_revision, in_full, model_ms)
