"""Train the stages in the order they need each other, register them, and reuse what is already trained."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from services.recommendations.cold_start import train as cold_start_training
from services.recommendations.contracts.stages import MODEL_NAMES
from services.recommendations.evaluation.request_sample import RequestSample, sample_requests
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.jobs.model_cards import SLOW_CARD_USERS, train_with_card
from services.recommendations.judging.stage_specifications import stage_specifications
from services.recommendations.pipeline.local_models import load_candidate_models
from services.recommendations.ranking import train as ranking_training
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.student import train as student_training
from services.recommendations.reranking import train as reranking_training
from services.recommendations.retrieval import train as retrieval_training
from services.recommendations.training.histories import rows_seen_by_training
from services.recommendations.training.input import (
    RANKING_TEACHER,
    TRAINED_MODEL_NAMES,
    TrainingInput,
    settings_fingerprint,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelSpec
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.training.code_fingerprint import code_fingerprint
from streamrec.training.splits import Split, evaluable, leave_last_out
from streamrec.training.training_rows import TRAINING_ROWS_FILE

STAGES: Final = tuple(TRAINED_MODEL_NAMES)
"""All stages that can be trained; each comes after those that it needs."""

SERVED_STAGES: Final = tuple(MODEL_NAMES)
"""Those of them that serve."""

RERANKING_USERS: Final = 1000
"""Users whose requests the re-ranker is fitted on: their candidates cost a few milliseconds each."""

_STAGE_OF: Final = {name: stage for stage, name in TRAINED_MODEL_NAMES.items()}

ENTRY_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "retrieval": (retrieval_training.__name__,),
    RANKING_TEACHER: (ranking_training.__name__,),
    "ranking": (student_training.__name__, RankingModel.__module__),
    "cold_start": (cold_start_training.__name__, ItemIndex.__module__),
    "reranking": (
        reranking_training.__name__,
        sample_requests.__module__,
        load_candidate_models.__module__,
    ),
}
"""Where the training of each stage begins: what these import, at any depth, makes its weights.

The model card is left out: what it measures is measured after the training and changes no weight.
"""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings by stage, and where to train.

    Attributes:
        device: Where the ranker's network is trained: ``cpu``, ``cuda`` or ``cuda:1``. It makes no other
            version.
        events_until: Events before this moment are in the data; None where none are. It stands among a
            version's parameters and makes no other version: the fingerprint of the data tells the events.
    """

    retrieval: retrieval_training.RetrievalSettings = field(
        default_factory=retrieval_training.RetrievalSettings
    )
    ranking_teacher: ranking_training.RankingSettings = field(
        default_factory=ranking_training.RankingSettings
    )
    ranking: student_training.StudentSettings = field(default_factory=student_training.StudentSettings)
    cold_start: cold_start_training.ColdStartSettings = field(
        default_factory=cold_start_training.ColdStartSettings
    )
    reranking: reranking_training.RerankingSettings = field(
        default_factory=reranking_training.RerankingSettings
    )

    device: str = "cpu"
    events_until: datetime | None = None

    @classmethod
    def quick(cls) -> Self:
        """Smaller models by the same code: for a demonstration within minutes."""
        return cls(
            retrieval=replace(retrieval_training.RetrievalSettings(), hard_negative_count=0, epoch_count=4),
            ranking_teacher=ranking_training.RankingSettings.quick(),
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

    @cached_property
    def retrieval(self) -> ModelVersion:
        """The two-tower retriever."""
        settings = self.settings.retrieval
        return self._reuse_or_train(
            "retrieval", settings, [], lambda output: retrieval_training.train(self._input, settings, output)
        )

    @cached_property
    def ranking_teacher(self) -> ModelVersion:
        """The ranker that `ranking` learns from."""
        settings = self.settings.ranking_teacher
        version = self._reuse_or_train(
            RANKING_TEACHER,
            settings,
            [],
            lambda output: ranking_training.train(
                replace(self._input, checkpoints=self._checkpoints(settings)), settings, output
            ),
        )
        # Registered before: a kill while the version is measured and stored costs no training.
        ranking_training.clear_checkpoints(self._checkpoints(settings))
        return version

    @cached_property
    def ranking(self) -> ModelVersion:
        """The student that serves, distilled from `ranking_teacher`."""
        settings, teacher = self.settings.ranking, self.ranking_teacher

        def train(output: Path) -> ModelSpec:
            return student_training.train(
                self._input,
                settings,
                output,
                teacher=RankingModel.load(self.registry.fetch(teacher)),
                teacher_ref=teacher.ref,
                teacher_metrics=teacher.metrics,
            )

        return self._reuse_or_train("ranking", settings, [teacher], train)

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
        """The re-ranker, fitted on what the other three put before it."""
        settings = self.settings.reranking

        def train(output: Path) -> ModelSpec:
            sample = self._requests(settings.new_user_share)
            return reranking_training.train(
                self._input,
                settings,
                output,
                ranked=sample.ranked,
                held_out=sample.held_out,
                weights=sample.weights,
            )

        return self._reuse_or_train(
            "reranking", settings, [self.retrieval, self.ranking, self.cold_start], train
        )

    @cached_property
    def _input(self) -> TrainingInput:
        # Before the work: every stage is measured on what is held out once it is trained.
        for held_out in ("validation", "test"):
            evaluable(self.split, held_out)
        return TrainingInput(self.dataset, self.split, self.seed, self.progress, self.settings.device)

    def _checkpoints(self, settings: Any) -> Path:
        """Where the ranker of these settings keeps its checkpoint; the same data and code find it again."""
        run = _fingerprint(
            self.dataset.fingerprint,
            settings_fingerprint(settings, self.seed),
            _code_fingerprint(RANKING_TEACHER),
        )
        return self.work_folder / "checkpoints" / run[:16]

    def _reuse_or_train(
        self,
        stage: str,
        settings: Any,
        upstream: Sequence[ModelVersion],
        train: Callable[[Path], ModelSpec],
    ) -> ModelVersion:
        name, specification = TRAINED_MODEL_NAMES[stage], stage_specifications().get(stage)
        fingerprint = _fingerprint(
            settings_fingerprint(settings, self.seed),
            _code_fingerprint(stage),
            TRAINING_ROWS_FILE,  # versions of before do not say what they were trained on
            # A version is judged by what it was registered with.
            *(() if specification is None else (specification.digest,)),
            # Not by digest: the card in an artifact holds the time that its training took.
            *(version.settings_fingerprint for version in upstream),
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
            spec = train_with_card(
                stage,
                self._input,
                train,
                Path(output),
                settings_fingerprint=fingerprint,
                upstream={_STAGE_OF[version.ref.name]: self.registry.fetch(version) for version in upstream},
                test_requests=self._test_requests,
            )
            until = self.settings.events_until
            told = {"events_until": None if until is None else until.isoformat()}
            spec = replace(
                spec,
                parameters={**spec.parameters, **told},
                specification=None if specification is None else specification.to_json(),
            )
            rows_seen_by_training(self._input.split).write(Path(output))
            return self.registry.register(spec, Path(output))

    def _test_requests(self) -> RequestSample:
        """Requests up to the re-ranker, at the time of each user's test item: for its model card."""
        share = self.settings.reranking.new_user_share
        return self._requests(share, users=SLOW_CARD_USERS, under_test=True)

    def _requests(
        self, new_user_share: float, *, users: int = RERANKING_USERS, under_test: bool = False
    ) -> RequestSample:
        """Requests up to the re-ranker, at the time of each user's validation item, or test item."""
        versions = {stage: self.version(stage) for stage in SERVED_STAGES if stage != "reranking"}
        models = load_candidate_models(self.registry, versions)
        return sample_requests(
            self.dataset,
            self.split,
            models,
            users=users,
            new_user_share=new_user_share,
            under_test=under_test,
            progress=self.progress,
        )


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
        The version of each stage. None of them serves: that takes a promotion.
    """
    job = TrainingJob(dataset, registry, work_folder, seed, progress, settings or TrainingSettings())
    return {stage: job.version(stage) for stage in sorted(stages, key=STAGES.index)}


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code_fingerprint(stage: str) -> str:
    """Fingerprint of all the code that makes the stage's weights, this module's own included."""
    return code_fingerprint(ENTRY_MODULES[stage], besides=[__name__])
