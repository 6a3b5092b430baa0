from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.stages import StageReply, StageStatus
from services.recommendations.serving import stage_messages
from services.recommendations.serving.stage_messages import UnreadableMessageError

ids = st.text(min_size=1, max_size=128)
id_lists = st.lists(ids, max_size=8).map(tuple)
users = st.builds(
    UserState, ids, st.builds(Segment, ids, ids, ids, ids), id_lists, disliked=id_lists, shown=id_lists
)
replies = st.builds(
    lambda version, prices, revision, in_full: (version, prices, revision, in_full),
    st.integers(1, 2**31),
    st.none() | st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.booleans(),
)


@st.composite
def candidates(draw):
    item_ids = tuple(draw(st.lists(ids, max_size=12, unique=True)))
    scores = draw(
        st.lists(st.floats(width=32, allow_nan=False), min_size=len(item_ids), max_size=len(item_ids))
    )
    return Candidates(item_ids, np.array(sorted(scores, reverse=True), dtype=np.float32))


def same(first: Candidates, second: Candidates) -> bool:
    return (
        first.item_ids == second.item_ids
        and second.scores.dtype == np.float32
        and np.array_equal(first.scores, second.scores)
    )


@given(users, st.integers(1, 500), st.text(max_size=40), st.integers(1, 9))
def test_a_request_for_candidates_arrives_as_it_was_sent(user, count, request_id, version):
    message = stage_messages.pack_find(user, count, request_id, version)
    assert stage_messages.unpack_find(message) == (user, count, request_id, version)


@given(users, candidates())
def test_requests_for_an_order_leave_out_what_no_candidate_is_among(user, asked):
    without = UserState(user.user_id, user.segment, user.history)
    found_user, found, version = stage_messages.unpack_rank(stage_messages.pack_rank(user, asked, 3))
    assert (found_user, version) == (without, 3)
    assert same(asked, found)
    message = stage_messages.pack_rerank(asked, user, 41.5, 20, 4)
    found, found_user, spent_ms, slate_length, version = stage_messages.unpack_rerank(message)
    assert (found_user, spent_ms, slate_length, version) == (without, 41.5, 20, 4)
    assert same(asked, found)


@given(candidates(), replies, st.randoms(use_true_random=False))
def test_answers_arrive_as_they_were_sent(asked, about, random):
    found = stage_messages.unpack_found(stage_messages.pack_found(StageReply(asked, *about)))
    assert same(asked, found.candidates)
    order = list(range(len(asked)))
    random.shuffle(order)
    reordered = Candidates(tuple(asked.item_ids[place] for place in order), asked.scores)
    message = stage_messages.pack_reordered(StageReply(reordered, *about), asked)
    reply = stage_messages.unpack_reordered(message, asked)
    assert same(reordered, reply.candidates)
    assert (reply.version, reply.price_revision, reply.item_revision, reply.in_full) == about


def test_the_models_own_time_arrives_with_what_it_waited_for_its_turn():
    asked = Candidates(("a", "b"), np.zeros(2, dtype=np.float32))
    reply = StageReply(asked, 1, model_ms=2.5)
    assert stage_messages.unpack_found(stage_messages.pack_found(reply, 1.5)).model_ms == 4.0
    message = stage_messages.pack_reordered(reply, asked, 1.5)
    assert stage_messages.unpack_reordered(message, asked).model_ms == 4.0


def test_an_order_names_no_item_again_and_is_a_third_of_the_ids():
    asked = Candidates(
        tuple(f"item-{row:08d}" for row in range(500)), np.arange(500, 0, -1, dtype=np.float32)
    )
    message = stage_messages.pack_reordered(StageReply(asked, 1), asked)
    assert b"item" not in message
    assert len(message) < 3_100


def test_an_order_of_other_items_than_asked_for_is_not_sent():
    asked = Candidates(("a", "b"), np.zeros(2, dtype=np.float32))
    with pytest.raises(KeyError):
        stage_messages.pack_reordered(StageReply(Candidates(("c",), asked.scores[:1]), 1), asked)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        msgpack.packb("text"),
        msgpack.packb((1, 2)),
        msgpack.packb((b"\x07\x00", b"\x00\x00\x00\x00", 1, None, 0, True, 0.0)),
        msgpack.packb((b"\x00", b"\x00\x00\x00\x00", 1, None, 0, True, 0.0)),
        msgpack.packb((b"\x00\x00", b"\x00\x00", 1, None, 0, True, 0.0)),
        msgpack.packb((5, 5, 1, None, 0, True, 0.0)),
        msgpack.packb((b"\x00\x00", b"\x00\x00\x00\x00", 1, None, 0, True)),
        msgpack.packb((b"\x00\x00", b"\x00\x00\x00\x00", 1, None, 0, True, -1.0)),
        msgpack.packb((b"\x00\x00", b"\x00\x00\x00\x00", 1, None, 0, True, float("nan"))),
        msgpack.packb((b"\x00\x00", b"\x00\x00\x00\x00", 1, None, 0, True, "soon")),
    ],
)
def test_what_is_no_answer_is_refused(message):
    asked = Candidates(("a", "b"), np.zeros(2, dtype=np.float32))
    with pytest.raises(UnreadableMessageError):
        stage_messages.unpack_reordered(message, asked)


@pytest.mark.parametrize("user", [None, "text", (), ("u", ("x",) * 9, (), (), ())])
def test_what_is_no_user_is_refused(user):
    with pytest.raises(UnreadableMessageError):
        stage_messages.unpack_find(msgpack.packb((user, 1, "", 1)))


def test_a_status_arrives_as_it_was_sent():
    for status in (StageStatus("model", 3, ""), StageStatus("model", None, "still loading")):
        assert stage_messages.unpack_status(stage_messages.pack_status(status)) == status
