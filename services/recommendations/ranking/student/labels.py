"""What the teacher says: its scores of all items after prefixes of train histories, kept where they matter.

Of every prefix the items with the highest scores are kept, and of the others a uniform sample that stands for
all of them (strata, as in `services.recommendations.ranking.combination`): the memory does not grow with the
catalogue, and the loss is about the top of the list and yet of all of it. Beside the teacher's scores stands
the part of the student's that is not learned: that of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.candidate_features import CandidateTables
from services.recommendations.ranking.student.features import FeatureScorer
from services.recommendations.ranking.student.network import PADDING
from services.recommendations.ranking.student.settings import DistillationSettings
from streamrec.contracts.errors import InvalidInputError, PermanentError
from streamrec.contracts.progress import Progress
from streamrec.training.splits import UserHistories


class Teacher(Protocol):
    """All that the student knows of its teacher."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Items in row order."""
        ...

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Shape (n, any): vectors of the items, which the student's start from."""
        ...

    @property
    def tables(self) -> CandidateTables:
        """What its candidate features are computed from."""
        ...

    @property
    def feature_weights(self) -> Mapping[str, float]:
        """Weight of each feature in its score, by name."""
        ...

    def prefix_scores(
        self, history: NDArray[np.int64], segment: Segment, lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score all items after each of some prefixes of a history.

        Args:
            history: Shape (h,), item rows, oldest first.
            segment: What else is known of the user.
            lengths: Shape (p,): items of each prefix, 0 to h.

        Returns:
            Shape (p, n), finite.
        """
        ...


@dataclass(frozen=True)
class Windows:
    """Stretches of train sequences whose prefixes are labelled.

    Attributes:
        users: Shape (w,), int64: row of each stretch's user.
        starts: Shape (w,), int64: first item, as a position in `UserHistories.items`.
        ends: Shape (w,), int64: one past the last item.
        prefix_lengths: Shape (w, p), int64: lengths of the labelled prefixes, each at most ``ends - starts``,
            increasing; the first is repeated where there are fewer prefixes than p.
    """

    users: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    prefix_lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class LabelledStep:
    """The teacher's answers for the w windows of one optimiser step, p prefixes each, b = w * p in all.

    Attributes:
        items: Shape (w, length), item rows, oldest first, `PADDING` on the right.
        users: Shape (w,): rows of the users.
        lengths: Shape (w, p): items of each prefix.
        top: Shape (b, k), int32: items that the teacher scores highest, best first, none of them seen.
        top_scores: Shape (b, k), float32, relative to the best; -inf where there are fewer unseen items.
        top_features: Shape (b, k), float32: the features' part of the score; see `FeatureScorer`.
        sample: Shape (m,), int64: items that stand for the others.
        sample_scores: Shape (b, m), float16, on the same scale; -inf where one is in ``top`` or was seen.
        sample_features: Shape (b, m), float16: the features' part of the score.
        sample_log_counts: Shape (b,), float32: log of how many items each one of the sample stands for.
    """

    items: NDArray[np.int64]
    users: NDArray[np.int64]
    lengths: NDArray[np.int64]
    top: NDArray[np.int32]
    top_scores: NDArray[np.float32]
    top_features: NDArray[np.float32]
    sample: NDArray[np.int64]
    sample_scores: NDArray[np.float16]
    sample_features: NDArray[np.float16]
    sample_log_counts: NDArray[np.float32]


def draw_windows(
    train: UserHistories,
    settings: DistillationSettings,
    *,
    label_count: int,
    history_length: int,
    rng: np.random.Generator,
) -> Windows:
    """Draw stretches of at most ``history_length`` items, and the prefixes of them to be labelled.

    A stretch ends at a uniformly drawn interaction or, a share of them, at the end of a sequence. Its whole
    length is always a prefix; the others are drawn uniformly, the empty one included.

    Raises:
        InvalidInputError: There are no train interactions.
    """
    if train.items.size == 0:
        raise InvalidInputError("split", "there are no train interactions to distil the ranker on")
    per_window = settings.labels_per_window
    count = max(1, -(-label_count // per_window))
    whole_count = min(round(settings.whole_share * count), int((train.lengths > 0).sum()))
    last = rng.integers(train.items.size, size=count)
    occupied = np.flatnonzero(train.lengths)
    last[:whole_count] = train.offsets[1:][rng.choice(occupied, whole_count, replace=False)] - 1
    last = rng.permutation(last)
    users = train.users[last].astype(np.int64)
    ends = last + 1
    starts = np.maximum(train.offsets[:-1][users], ends - history_length)
    prefix_lengths = np.empty((count, per_window), dtype=np.int64)
    for row, length in enumerate((ends - starts).tolist()):
        others = rng.choice(length, min(per_window - 1, length), replace=False)
        prefix_lengths[row] = np.concatenate((others, np.full(per_window - others.size, length)))
    prefix_lengths.sort(axis=1)
    return Windows(users, starts, ends, prefix_lengths)


def label(
    teacher: Teacher,
    train: UserHistories,
    windows: Windows,
    segments: Sequence[Segment],
    features: FeatureScorer,
    settings: DistillationSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> list[LabelledStep]:
    """Ask the teacher about every window, in steps of windows of like length.

    Args:
        teacher: Whom to ask, from as many threads as torch uses.
        train: What the windows were drawn from.
        windows: See `draw_windows`.
        segments: Of each user of ``train``.
        features: The part of the student's score that is not learned.
        settings: How much to keep.
        rng: Source of the samples.
        progress: One step a prefix.

    Raises:
        PermanentError: The teacher's scores are not finite.
    """
    order = np.argsort(windows.ends - windows.starts, kind="stable")
    groups = np.split(order, np.arange(settings.windows_per_step, len(order), settings.windows_per_step))
    # A generator for each step: the labels do not depend on the number of threads.
    generators = rng.spawn(len(groups))

    def label_group(place: int) -> LabelledStep:
        return _label_step(
            teacher, train, windows, groups[place], segments, features, settings, generators[place]
        )

    steps = []
    progress.start("student: the teacher's scores", int(windows.prefix_lengths.size))
    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="label") as executor:
        for step in executor.map(label_group, range(len(groups))):
            steps.append(step)
            progress.advance(int(step.lengths.size))
    progress.finish(note=f"{windows.prefix_lengths.size} histories")
    return steps


def _label_step(
    teacher: Teacher,
    train: UserHistories,
    windows: Windows,
    chosen: NDArray[np.int64],
    segments: Sequence[Segment],
    features: FeatureScorer,
    settings: DistillationSettings,
    rng: np.random.Generator,
) -> LabelledStep:
    item_count = len(teacher.item_ids)
    per_window = windows.prefix_lengths.shape[1]
    sample = np.sort(rng.choice(item_count, min(settings.sample_count, item_count), replace=False))
    top_count = min(settings.top_count, item_count)
    longest = int((windows.ends[chosen] - windows.starts[chosen]).max())
    items = np.full((len(chosen), longest), PADDING, dtype=np.int64)
    labels = len(chosen) * per_window
    top = np.zeros((labels, top_count), dtype=np.int32)
    top_scores = np.empty((labels, top_count), dtype=np.float32)
    top_features = np.empty_like(top_scores)
    sample_scores = np.empty((labels, sample.size), dtype=np.float16)
    sample_features = np.empty_like(sample_scores)
    sample_log_counts = np.zeros(labels, dtype=np.float32)
    for row, window in enumerate(chosen.tolist()):
        start, end, user = int(windows.starts[window]), int(windows.ends[window]), int(windows.users[window])
        history = train.items[start:end].astype(np.int64)
        items[row, : history.size] = history
        lengths = windows.prefix_lengths[window]
        scores = teacher.prefix_scores(history, segments[user], lengths)
        if not np.isfinite(scores).all():
            raise PermanentError(
                f"the teacher's scores for user {train.user_ids[user]!r} are not finite; train it again"
            )
        for place, length in enumerate(lengths.tolist()):
            at = row * per_window + place
            prefix = history[:length]
            kept = _strata(scores[place], prefix, sample, top_count)
            top[at], top_scores[at], sample_scores[at], sample_log_counts[at] = kept
            parts = features.scores(prefix, segments[user], np.concatenate((top[at], sample)))
            # Relative to the best of them, which changes no distribution and suits the small floats.
            parts -= parts.max()
            top_features[at], sample_features[at] = parts[:top_count], parts[top_count:]
    return LabelledStep(
        items=items,
        users=windows.users[chosen],
        lengths=windows.prefix_lengths[chosen],
        top=top,
        top_scores=top_scores,
        top_features=top_features,
        sample=sample,
        sample_scores=sample_scores,
        sample_features=sample_features,
        sample_log_counts=sample_log_counts,
    )


def _strata(
    scores: NDArray[np.float32], seen: NDArray[np.int64], sample: NDArray[np.int64], top_count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], float]:
    """Best unseen items with their scores, scores of the sample, and what each of the sample counts.

    Changes ``scores`` in place: relative to the best unseen item, -inf for the seen and for the best.
    """
    scores[seen] = -np.inf
    scores -= scores.max(initial=-np.inf)
    if not np.isfinite(scores).any():
        raise InvalidInputError("split", "a user has seen every item; there is nothing left to rank")
    best = np.argpartition(-scores, top_count - 1)[:top_count]
    best = best[np.argsort(-scores[best], kind="stable")]
    best_scores = scores[best].copy()
    scores[best] = -np.inf
    others = int(np.isfinite(scores).sum())
    sampled = scores[sample]
    drawn = int(np.isfinite(sampled).sum())
    log_count = float(np.log(others / drawn)) if drawn else 0.0
    return best, best_scores, sampled, log_count
