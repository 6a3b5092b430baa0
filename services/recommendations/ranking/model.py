"""The ranker: two logits and candidate features, in one linear score. Pure: no clock, no network.

score(u, i) = (w_0 p_u + w_1 o_u) . v_i / temperature + sum_k w_k f_k(u, i), where p_u and o_u are the two
user vectors of `UserEncoder`, pooled and ordered, v are item vectors and f are those of `CandidateTables`.
An item's score depends on the user's history and segment and on nothing else: neither on the other
candidates nor on a batch.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray

from services.recommendations.ranking import artifact
from services.recommendations.ranking.candidate_features import CandidateTables
from services.recommendations.ranking.combination import Combination
from services.recommendations.ranking.network import SequenceNetwork, UserEncoder
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import NetworkSettings
from services.recommendations.types import HISTORY_LIMIT, Candidates, Segment, UserState
from streamrec.training.splits import Sequences

_UNKNOWN_SEGMENT: Final = Segment()
_GAP_TO_UNKNOWN: Final = 1.0
"""How far below the lowest known candidate an unknown one is scored."""
_MOST: Final = 4


class RankingModel:
    """Scores candidates for a user. Implements `Ranker` and `TopItems`; safe to share between threads.

    Attributes:
        item_ids: Length n, in row order: the order of the catalogue that it was trained on.
        settings: Sizes of the network.
        encoder: In evaluation mode.
        segment_table: Rows of the encoder's segment embeddings.
        vectors: Shape (n, d), float32, unit length.
        tables: What the candidate features are computed from.
        combination: Weights of the score.
    """

    def __init__(
        self,
        item_ids: tuple[str, ...],
        settings: NetworkSettings,
        encoder: UserEncoder,
        segment_table: SegmentTable,
        vectors: NDArray[np.float32],
        tables: CandidateTables,
        combination: Combination,
    ) -> None:
        self.item_ids = item_ids
        self.settings = settings
        self.encoder = encoder.eval()
        self.segment_table = segment_table
        self.vectors = vectors
        self.tables = tables
        self.combination = combination
        # What is computed once is computed now, so that the first request is as fast as the rest.
        some = np.arange(min(2, len(item_ids)), dtype=np.int64)
        self.scores(some, _UNKNOWN_SEGMENT, some)

    @classmethod
    def of(
        cls,
        item_ids: tuple[str, ...],
        settings: NetworkSettings,
        network: SequenceNetwork,
        segment_table: SegmentTable,
        tables: CandidateTables,
        combination: Combination,
    ) -> Self:
        """Build from a trained network, whose item vectors are computed once and for all."""
        network.eval()
        with torch.inference_mode():
            vectors = network.item_vectors().numpy().copy()
        return cls(item_ids, settings, network.encoder, segment_table, vectors, tables, combination)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def rank(self, user: UserState, candidates: Candidates) -> Candidates:
        """Return the same items, rescored and sorted; equal scores keep the order given.

        Items of the history that the model does not know are ignored, repeated ones count as often as they
        stand there, and of more than `HISTORY_LIMIT` items the newest count. Without any known history the
        score is what everyone likes and what the segment says. Candidates that the model does not know come
        last, in the order given.
        """
        row_of = self.row_of
        rows = np.array([row_of.get(item_id, -1) for item_id in candidates.item_ids], dtype=np.int64)
        known = rows >= 0
        scores = np.zeros(len(rows), dtype=np.float32)
        if known.any():
            history = [row_of[item] for item in user.history[-HISTORY_LIMIT:] if item in row_of]
            scores[known] = self.scores(np.array(history, dtype=np.int64), user.segment, rows[known])
            scores[~known] = scores[known].min() - _GAP_TO_UNKNOWN
        return Candidates.from_scores(candidates.item_ids, scores)

    def scores(
        self, history: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score some items for one user.

        Args:
            history: Shape (h,), item rows, oldest first; may be empty.
            segment: What else is known of the user.
            candidates: Shape (c,), item rows.

        Returns:
            Shape (c,), finite.
        """
        features = self.tables.features(history, segment, candidates)
        return self.combination.scores(self.logits(history, segment, candidates), features)

    def logits(
        self, history: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Shape (c, len(LOGITS)): the network's part of the score. Without history the two are the same."""
        users = self._user_vectors(history[-self.settings.history_length :], segment)
        # Gathering most of the vectors would cost more than multiplying all of them.
        if _MOST * len(candidates) > len(self.vectors):
            products = (self.vectors @ users)[candidates]
        else:
            products = self.vectors[candidates] @ users
        logits: NDArray[np.float32] = products / np.float32(self.settings.temperature)
        return logits

    def _user_vectors(self, history: NDArray[np.int64], segment: Segment) -> NDArray[np.float32]:
        """Shape (d, len(LOGITS)), contiguous."""
        with torch.inference_mode():
            segments = torch.from_numpy(self.segment_table.rows([segment]))
            newest_first = torch.from_numpy(self.vectors[history[::-1]])[None]
            pooled = self.encoder.pooled(newest_first, torch.ones(1, history.size), segments)[0]
            ordered = pooled
            if history.size:
                ordered = self.encoder.ordered(newest_first.flip(1), segments)[0, -1]
            users: NDArray[np.float32] = torch.stack([pooled, ordered], dim=1).numpy()
        return users

    def top_items(self, users: NDArray[np.int32], histories: Sequences, count: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some users of unknown segment; see `TopItems.top_items`.

        With segments use `services.recommendations.ranking.top_items.RankerTopItems`.
        """
        count = min(count, len(self.item_ids))
        lists = np.empty((len(users), count), dtype=np.int32)
        for place, user in enumerate(users.tolist()):
            lists[place] = self.top_unseen(histories.of(user).astype(np.int64), _UNKNOWN_SEGMENT, count)
        return lists

    def top_unseen(self, history: NDArray[np.int64], segment: Segment, count: int) -> NDArray[np.int32]:
        """Shape (count,): the best items outside ``history``, ties by row; -1 where none are left."""
        unseen = np.ones(len(self.item_ids), dtype=np.bool_)
        unseen[history] = False
        candidates = np.flatnonzero(unseen)
        scores = self.scores(history[-HISTORY_LIMIT:], segment, candidates)
        if count < scores.size:
            # Everything that ties with the last place stays in, so that ties go to the lower row.
            kept = scores >= np.partition(scores, scores.size - count)[scores.size - count]
            candidates, scores = candidates[kept], scores[kept]
        best = candidates[np.argsort(-scores, kind="stable")[:count]]
        padding = np.full(count - best.size, -1, dtype=np.int64)
        return np.concatenate((best, padding)).astype(np.int32)

    def save(self, folder: Path) -> None:
        """Write the artifact into ``folder``, which is made if need be; see `artifact.write`."""
        artifact.write(
            artifact.RankerParts(
                self.item_ids,
                self.settings,
                self.encoder,
                self.segment_table,
                self.vectors,
                self.tables,
                self.combination,
            ),
            folder,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: A file is missing, damaged, or does not fit the others.
        """
        parts = artifact.read(folder)
        return cls(
            parts.item_ids,
            parts.settings,
            parts.encoder,
            parts.segment_table,
            parts.vectors,
            parts.tables,
            parts.combination,
        )
