from __future__ import annotations

import numpy as np

from streamrec.training.splits import UserHistories


def test_the_matrix_leaves_the_order_of_time_alone() -> None:
    sequences = UserHistories(
        user_ids=("a", "b"),
        offsets=np.array([0, 4, 6]),
        items=np.array([5, 1, 3, 1, 4, 0], dtype=np.int32),
        timestamps=np.arange(6),
    )
    matrix = sequences.matrix(6)
    assert sequences.of(0).tolist() == [5, 1, 3, 1]
    assert sequences.of(1).tolist() == [4, 0]
    assert matrix.toarray().tolist() == [[0, 1, 0, 1, 0, 1], [1, 0, 0, 0, 1, 0]]
