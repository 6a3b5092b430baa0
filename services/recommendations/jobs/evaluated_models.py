"""The models of one training job, loaded for evaluation when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Segment
from services.recommendations.evaluation.request_sample import RequestSample, sample_requests
from services.recommendations.item_index.index import IndexSettings, ItemIndex
from services.recommendations.jobs.training import SERVED_STAGES, TrainingJob
from services.recommendations.pipeline.local_models import load_models
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline, PipelineAsCatalogueRanker
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import RANKING_TEACHER
from services.recommendations.training.rejections import Rejections
from streamrec.features.store import ItemTable
from streamrec.training.baselines import BASELINES
from streamrec.training.evaluation import CatalogueRanker


@dataclass(frozen=True)
class EvaluatedModels:
    """What a job's versions are as models; each is trained, if need be, and loaded at its first use.

    Attributes:
        job: Where versions come from.
    """

    job: TrainingJob

    def folder(self, stage: str) -> Path:
        """The verified artifact of a stage."""
        return self.job.registry.fetch(self.job.version(stage))

    @cached_property
    def segments(self) -> Mapping[str, Segment]:
        """Segment by user id."""
        return segments_by_user(self.job.dataset)

    @cached_property
    def retriever(self) -> TwoTowerRetriever:
        """The two-tower retriever."""
        return TwoTowerRetriever.load(self.folder("retrieval"))

    @cached_property
    def exact_index(self) -> ItemIndex:
        """The retriever's vectors in an exact index: its own where that is one."""
        index = self.retriever.index
        if index.exact:
            return index
        return ItemIndex.build(index.item_ids, index.vectors, IndexSettings(exact_limit=len(index)))

    @cached_property
    def ranker(self) -> RankingModel:
        """The teacher."""
        return RankingModel.load(self.folder(RANKING_TEACHER))

    @cached_property
    def student(self) -> StudentRanker:
        """The student that serves, distilled from `ranker`."""
        return StudentRanker.load(self.folder("ranking"))

    @cached_property
    def cold_start(self) -> ColdStartModel:
        """The cold-start model, in the embedding space that it was trained in."""
        version = self.job.version("cold_start")
        space = self.job.registry.get(version.depends_on["retrieval"])
        index = ItemIndex.load(self.job.registry.fetch(space))
        return ColdStartModel.load(self.job.registry.fetch(version), index)

    @cached_property
    def reranker(self) -> DiversityReranker:
        """The re-ranker."""
        return DiversityReranker.load(self.folder("reranking"))

    @cached_property
    def pipeline(self) -> OfflinePipeline:
        """The whole pipeline as it serves."""
        job = self.job
        counts = np.bincount(job.split.history.items, minlength=len(job.dataset.catalogue)).astype(np.int64)
        items = ItemTable(job.dataset.catalogue, counts, revision=job.dataset.fingerprint)
        return OfflinePipeline(self.served, items)

    @cached_property
    def served(self) -> LocalModels:
        """The models that serve."""
        return load_models(self.job.registry, {stage: self.job.version(stage) for stage in SERVED_STAGES})

    def requests(self, users: int, *, under_test: bool) -> RequestSample:
        """Requests as far as the re-ranker: see `sample_requests`."""
        job = self.job
        return sample_requests(
            job.dataset,
            job.split,
            self.served,
            users=users,
            new_user_share=job.settings.reranking.new_user_share,
            under_test=under_test,
            progress=job.progress,
        )

    def top_items(self) -> dict[str, Callable[[], CatalogueRanker]]:
        """How to get everything that ranks the whole catalogue ready, by the name it is reported under.

        Nothing is trained before its maker is called.
        """
        train, catalogue = self.job.split.train, self.job.dataset.catalogue
        makers: dict[str, Callable[[], CatalogueRanker]] = {
            name: partial(fit, train, len(catalogue)) for name, fit in BASELINES.items()
        }
        return {
            **makers,
            "two_tower": lambda: RetrieverAsCatalogueRanker(self.retriever, catalogue, self.segments),
            "ranker": lambda: RankerAsCatalogueRanker(self.ranker, self.segments),
            "student": lambda: RankerAsCatalogueRanker(self.student, self.segments),
            "pipeline": lambda: PipelineAsCatalogueRanker(
                self.pipeline, self.segments, rejections=Rejections.of(self.job.dataset)
            ),
        }
