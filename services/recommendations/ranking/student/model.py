"""The student: the ranker that serves. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking import full_ranking
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.student import artifact
from services.recommendations.ranking.student.features import FeatureScorer, FeatureTables
from services.recommendations.ranking.student.new_items import (
    ContentRegression,
    ItemContent,
    extended_tables,
    extended_weights,
    nearest,
    regression_of,
)
from services.recommendations.ranking.student.runtime import StudentScorer, StudentWeights
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from streamrec.items.state import ItemState
from streamrec.training.splits import UserHistories

_UNKNOWN_SEGMENT: Final = Segment()


class StudentRanker:
    """Scores candidates for a user. Implements `Ranker` and `CatalogueRanker`; safe to share between threads.

    An item's score depends on the user's history and segment and on nothing else.

    Attributes:
        item_ids: Length n, in row order: the order of the catalogue that it was trained on.
        settings: Sizes.
        weights: What scores are computed from.
        segment_table: Rows of the segment vectors.
        features: What the part of the score that is not learned is computed from.
    """

    def __init__(
        self,
        item_ids: tuple[str, ...],
        settings: StudentNetworkSettings,
        weights: StudentWeights,
        segment_table: SegmentTable,
        features: FeatureTables,
    ) -> None:
        self.item_ids = item_ids
        self.settings = settings
        self.weights = weights
        self.segment_table = segment_table
        self.features = features
        self._scorer = StudentScorer(settings, weights)
        self._feature_scorer = FeatureScorer(features, settings.table_length)
        # What is computed once is computed now, so that the first request is as fast as the rest.
        some = np.arange(min(2, len(item_ids)), dtype=np.int64)
        self.scores(some, _UNKNOWN_SEGMENT, some)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def history_length(self) -> int:
        """Newest known items of a history that the network or the features look at."""
        return max(self.settings.history_length, self.features.history_length)

    def rank(self, user: UserState, candidates: Candidates) -> Candidates:
        """Return the same items, rescored and sorted; see `full_ranking.rank`.

        Without any known history the score is what everyone likes and what the segment says.
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
        scores = self._scorer.scores(history, self.segment_table.rows([segment])[0], candidates)
        scores += self._feature_scorer.scores(history, segment, candidates)
        return scores

    def with_items(self, state: ItemState) -> StudentRanker:
        """Return the same model that can score the items of the log it was not trained on, by their content.

        An item that it was trained on is scored as it was trained, however it is described anew.
        """
        row_of = self.row_of
        new = [item for item_id, item in sorted(state.items.items()) if item_id not in row_of]
        if not new:
            return self
        content = ItemContent.of_items(new, self.features)
        weights = extended_weights(self.weights, self._regression.predict(content))
        trained = len(self.item_ids)
        neighbours = nearest(weights.outputs[:trained], weights.outputs[trained:])
        return StudentRanker(
            (*self.item_ids, *(item.item_id for item in new)),
            self.settings,
            weights,
            self.segment_table,
            extended_tables(self.features, content, neighbours),
        )

    @cached_property
    def _regression(self) -> ContentRegression:
        return regression_of(self.weights, self.features)

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some users of unknown segment; see `CatalogueRanker.top_items`.

        With segments use `services.recommendations.ranking.catalogue_ranker.RankerAsCatalogueRanker`.
        """
        return RankerAsCatalogueRanker(self, {}).top_items(users, histories, count)

    def save(self, folder: Path) -> None:
        """Write the artifact into ``folder``, which is made if need be; see `artifact.write`."""
        artifact.write(
            artifact.StudentParts(
                self.item_ids, self.settings, self.weights, self.segment_table, self.features
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
        return cls(parts.item_ids, parts.settings, parts.weights, parts.segment_table, parts.features)
