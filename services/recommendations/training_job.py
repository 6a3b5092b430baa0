"""Train the stages in the order they need each other, register them, and reuse what is already trained."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from services.recommendations.cold_start import train as cold_start_training
from services.recommendations.item_index import ItemIndex
from services.recommendations.ranking import train as ranking_training
from services.recommendations.ranking.model import RankingModel
from services.recommendations.reranking import train as reranking_training
from services.recommendations.retrieval import train as retrieval_training
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training_input import MODEL_NAMES, TrainingInput, settings_fingerprint
from services.recommendations.types import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.user_states import user_states
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import CHAMPION, ModelSpec
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.training.splits import Split, leave_last_out

STAGES: Final = tuple(MODEL_NAMES)
"""All stages; each comes after those that it needs."""

RERANKING_USERS: Final = 1000
"""Users whose validation lists the re-ranker is fitted on: their candidates cost a few milliseconds each."""

_SHARED_SOURCES: Final = ("item_content.py", "item_index.py", "user_states.py")
"""What the stages train with and none of them owns."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings by stage."""

    retrieval: retrieval_training.RetrievalSettings = field(
        default_factory=retrieval_training.RetrievalSettings
    )
    ranking: ranking_training.RankingSettings = field(default_factory=ranking_training.RankingSettings)
    cold_start: cold_start_training.ColdStartSettings = field(
        default_factory=cold_start_training.ColdStartSettings
    )
    reranking: reranking_training.RerankingSettings = field(
        default_factory=reranking_training.RerankingSettings
    )


@dataclass(frozen=True)
class TrainingJob:
    """One run over one dataset. A stage that is asked for brings the stages that it needs.

    Every version is looked up before it is trained: one that was trained on the same data, with the same
    settings and seed, by the same code, on top of the same versions, is used again.

    Attributes:
        dataset: What to train on.
        registry: Where versions go, and where trained ones are found again.
        work_folder: Artifacts are written below here before they are registered.
        seed: Of every random draw in training.
        progress: Where progress is shown.
        settings: Settings by stage.
    """

    dataset: Dataset
    registry: ModelRegistry
    work_folder: Path
    seed: int
    progress: Progress
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    @cached_property
    def split(self) -> Split:
        """The leave-last-out split that every stage trains on."""
        return leave_last_out(self.dataset)

    def version(self, stage: str) -> ModelVersion:
        """Return the stage's version for this job, trained and registered if need be.

        Raises:
            InvalidInputError: There is no such stage.
        """
        if stage not in STAGES:
            raise InvalidInputError("stage", f"{stage!r} is none of {', '.join(STAGES)}")
        version: ModelVersion = getattr(self, stage)
        return version

    def train(self, stage: str) -> ModelVersion:
        """As `version`, and make it the champion."""
        version = self.version(stage)
        self.registry.set_alias(version.ref, CHAMPION)
        return version

    @cached_property
    def retrieval(self) -> ModelVersion:
        """The two-tower retriever."""
        settings = self.settings.retrieval
        return self._reuse_or_train(
            "retrieval", settings, [], lambda output: retrieval_training.train(self._input, settings, output)
        )

    @cached_property
    def ranking(self) -> ModelVersion:
        """The ranker."""
        settings = self.settings.ranking
        return self._reuse_or_train(
            "ranking", settings, [], lambda output: ranking_training.train(self._input, settings, output)
        )

    @cached_property
    def cold_start(self) -> ModelVersion:
        """The cold-start model, in the embedding space of `retrieval`."""
        settings, retrieval = self.settings.cold_start, self.retrieval

        def train(output: Path) -> ModelSpec:
            index = ItemIndex.load(self.registry.fetch(retrieval))
            return cold_start_training.train(
                self._input, settings, output, index=index, retrieval=retrieval.ref
            )

        return self._reuse_or_train("cold_start", settings, [retrieval], train)

    @cached_property
    def reranking(self) -> ModelVersion:
        """The re-ranker, fitted on the lists that `retrieval` and `ranking` put before it."""
        settings = self.settings.reranking

        def train(output: Path) -> ModelSpec:
            ranked, held_out = self._validation_lists()
            return reranking_training.train(self._input, settings, output, ranked=ranked, held_out=held_out)

        return self._reuse_or_train("reranking", settings, [self.retrieval, self.ranking], train)

    @cached_property
    def _input(self) -> TrainingInput:
        return TrainingInput(self.dataset, self.split, self.seed, self.progress)

    def _reuse_or_train(
        self,
        stage: str,
        settings: Any,
        upstream: Sequence[ModelVersion],
        train: Callable[[Path], ModelSpec],
    ) -> ModelVersion:
        name = MODEL_NAMES[stage]
        fingerprint = _fingerprint(
            settings_fingerprint(settings, self.seed),
            _code_fingerprint(stage),
            *(version.artifact_digest for version in upstream),
        )
        trained = self.registry.find(
            name, data_fingerprint=self.dataset.fingerprint, settings_fingerprint=fingerprint
        )
        if trained is not None:
            self.progress.start(f"{stage.replace('_', ' ')}: already trained", 1)
            self.progress.finish(f"reusing {trained.ref}")
            return trained
        self.work_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{stage}-", dir=self.work_folder) as output:
            spec = train(Path(output))
            return self.registry.register(replace(spec, settings_fingerprint=fingerprint), Path(output))

    def _validation_lists(self) -> tuple[list[tuple[UserState, Candidates]], list[str]]:
        """Ranked candidates of evaluated users at the time of their validation item, and that item."""
        retriever = TwoTowerRetriever.load(self.registry.fetch(self.retrieval))
        ranker = RankingModel.load(self.registry.fetch(self.ranking))
        split = self.split
        users = split.evaluated[:: max(1, len(split.evaluated) // RERANKING_USERS)]
        held_out = split.validation[:: max(1, len(split.evaluated) // RERANKING_USERS)]
        self.progress.start("re-ranking: candidates", len(users))
        ranked = []
        for user in user_states(self.dataset, split.train, users):
            ranked.append((user, ranker.rank(user, retriever.retrieve(user, CANDIDATE_COUNT))))
            self.progress.advance()
        self.progress.finish()
        return ranked, [split.catalogue.item_ids[item] for item in held_out]


def train_stages(
    stages: Sequence[str],
    dataset: Dataset,
    registry: ModelRegistry,
    work_folder: Path,
    *,
    seed: int,
    progress: Progress,
    settings: TrainingSettings | None = None,
) -> dict[str, ModelVersion]:
    """Train and register ``stages`` (see `STAGES`) in the order they need each other.

    Returns:
        The version of each stage, all of them champions now.
    """
    job = TrainingJob(dataset, registry, work_folder, seed, progress, settings or TrainingSettings())
    return {stage: job.train(stage) for stage in sorted(stages, key=STAGES.index)}


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code_fingerprint(stage: str) -> str:
    """SHA-256 of the stage's source and what it shares: other code makes another version."""
    spoke = Path(__file__).parent
    paths = [*sorted((spoke / stage).glob("*.py")), *(spoke / name for name in _SHARED_SOURCES)]
    sources: Mapping[str, str] = {path.name: path.read_text() for path in paths}
    return _fingerprint(*(f"{name}\n{source}" for name, source in sources.items()))
