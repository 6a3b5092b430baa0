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

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking import artifact, full_ranking
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.combination import LOGITS, Combination
from services.recommendations.ranking.network import SequenceNetwork, UserEncoder
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import NetworkSettings
from streamrec.training.splits import UserHistories

_UNKNOWN_SEGMENT: Final = Segment()
_MOST: Final = 4


class RankingModel:
    """Scores candidates for a user. Implements `Ranker` and `CatalogueRanker`, and `Teacher` of the student
    that serves; safe to share between threads.

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

    @cached_property
    def history_length(self) -> int:
        """Newest known items of a history that the network or the features look at."""
        return max(self.settings.history_length, self.tables.history_length)

    @cached_property
    def feature_weights(self) -> dict[str, float]:
        """Weight of each candidate feature in the score, by name."""
        return dict(zip(FEATURES, self.combination.weights[len(LOGITS) :].tolist(), strict=True))

    def rank(self, user: UserState, candidates: Candidates) -> Candidates:
        """Return the same items, rescored and sorted; equal scores keep the order given.

        Items of the history that the model does not know are ignored, repeated ones count as often as they
        stand there, and of more than `HISTORY_LIMIT` items the newest count. Without any known history the
        score is what everyone likes and what the segment says. Candidates that the model does not know come
        last, in the order given.
        """
        return full_ranking.rank(self, user, candidates)

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
        return self._combined(self.logits(history, segment, candidates), history, segment, candidates)

    def prefix_scores(
        self, history: NDArray[np.int64], segment: Segment, lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score all items after each of some prefixes of a history; the transformer runs once for all.

        Args:
            history: Shape (h,), item rows, oldest first.
            segment: What else is known of the user.
            lengths: Shape (p,): items of each prefix, 0 to h.

        Returns:
            Shape (p, n): row j is ``scores(history[: lengths[j]], segment, every item)``.
        """
        every = np.arange(len(self.item_ids))
        # Of a longer prefix the network sees the newest items, which stand at other positions.
        shared = lengths <= self.settings.history_length
        scores = np.empty((len(lengths), len(every)), dtype=np.float32)
        if shared.any():
            users = self._prefix_user_vectors(history, segment, lengths[shared])
            for row, user in zip(np.flatnonzero(shared).tolist(), users, strict=True):
                logits = self.vectors @ user / np.float32(self.settings.temperature)
                scores[row] = self._combined(logits, history[: lengths[row]], segment, every)
        for row in np.flatnonzero(~shared).tolist():
            scores[row] = self.scores(history[: lengths[row]], segment, every)
        return scores

    def _combined(
        self,
        logits: NDArray[np.float32],
        history: NDArray[np.int64],
        segment: Segment,
        candidates: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Shape (c,): the score. Features that all have no weight are not computed."""
        if not self.combination.uses_features:
            return self.combination.scores(logits, np.zeros((len(logits), len(FEATURES)), dtype=np.float32))
        return self.combination.scores(logits, self.tables.features(history, segment, candidates))

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

    def _prefix_user_vectors(
        self, history: NDArray[np.int64], segment: Segment, lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Shape (p, d, len(LOGITS)): as `_user_vectors` of each prefix, which the network sees whole."""
        longest = int(lengths.max(initial=0))
        with torch.inference_mode():
            segments = torch.from_numpy(self.segment_table.rows([segment]))
            steps_back = lengths[:, None] - 1 - np.arange(longest)
            newest_first = torch.from_numpy(self.vectors[history[np.maximum(steps_back, 0)]])
            present = torch.from_numpy(steps_back >= 0).float()
            pooled = self.encoder.pooled(newest_first, present, segments.expand(len(lengths), -1))
            ordered = pooled.clone()
            if longest:
                whole = torch.from_numpy(self.vectors[history[:longest]])[None]
                states = self.encoder.ordered(whole, segments)[0]
                some = torch.from_numpy(lengths > 0)
                ordered[some] = states[torch.from_numpy(lengths - 1)[some]]
            users: NDArray[np.float32] = torch.stack([pooled, ordered], dim=2).numpy()
        return users

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

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some users of unknown segment; see `CatalogueRanker.top_items`.

        With segments use `services.recommendations.ranking.catalogue_ranker.RankerAsCatalogueRanker`.
        """
        return RankerAsCatalogueRanker(self, {}).top_items(users, histories, count)

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
