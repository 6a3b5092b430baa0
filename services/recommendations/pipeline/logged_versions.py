"""The stages as they were when a logged slate was drawn: versions, items and prices by their revisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Self, TypeVar

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    SLOTS,
    StageReply,
    Stages,
)
from services.recommendations.exposure_control.exposure_prices import ExposurePrices
from services.recommendations.pipeline.local_stages import (
    LocalColdStart,
    LocalRanking,
    LocalReranking,
    LocalRetrieval,
)
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.events import Impression
from streamrec.contracts.items import ItemChange
from streamrec.contracts.models import ModelRef
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.features.store import ItemTable
from streamrec.items.state import ItemState
from streamrec.registry.model_registry import ModelRegistry, ModelVersion

T = TypeVar("T")


@dataclass(frozen=True)
class ServedUnder:
    """What decides how a state and a seed become a slate; equal for slates that one pipeline can draw.

    Attributes:
        versions: ``(stage, NAME@VERSION)`` of the stages that took part.
        item_revisions: ``(stage, revision)`` of the item log, of the same stages.
        item_revision: Of the catalogue.
        price_revision: Of the published prices; None where the model's own were in force.
    """

    versions: tuple[tuple[str, str], ...]
    item_revisions: tuple[tuple[str, int], ...]
    item_revision: int
    price_revision: int | None

    @classmethod
    def of(cls, impression: Impression) -> Self:
        """Read it off an impression.

        Raises:
            InvalidInputError: It is another spoke's.
        """
        extension = ImpressionExtension.from_json(impression.extension)
        named = {
            stage: impression.versions[slot] for stage, slot in SLOTS.items() if slot in impression.versions
        }
        return cls(
            tuple(named.items()),
            tuple((stage, extension.stage_item_revisions.get(stage, 0)) for stage in named),
            extension.item_revision,
            impression.price_revision,
        )


class LoggedVersions:
    """Makes the pipeline that an impression came from, out of what the workspace still has."""

    def __init__(
        self,
        registry: ModelRegistry,
        items: ItemTable,
        item_changes: Sequence[ItemChange],
        prices: Callable[[], VerifiedDocument[ExposurePrices] | None],
    ) -> None:
        """Describe where things are.

        Args:
            registry: Has every version that ever served.
            items: The materialised catalogue.
            item_changes: The whole item log, in order.
            prices: The published exposure prices; earlier ones are not kept.
        """
        self._registry = registry
        self._items = items
        self._item_changes = item_changes
        self._prices = prices

    def pipeline(self, served: ServedUnder) -> OfflinePipeline:
        """Load the versions and bring them to the revisions.

        Raises:
            NotFoundError: A version is not registered, or the prices were replaced since.
            InvalidInputError: The item log does not reach the revision: it is another log.
            ArtifactError: An artifact is damaged.
        """
        states = {stage: self._state(revision) for stage, revision in served.item_revisions}
        versions = {
            stage: self._registry.get(ModelRef.parse(name, field="versions"))
            for stage, name in served.versions
        }

        def stage(name: str, load: Callable[[ModelVersion, ItemState], T]) -> T | _TookNoPart:
            return load(versions[name], states[name]) if name in versions else _TookNoPart(name)

        reranking = partial(self._reranking, price_revision=served.price_revision)
        stages = Stages(
            retrieval=stage(RETRIEVAL, self._retrieval),
            cold_start=stage(COLD_START, self._cold_start),
            ranking=stage(RANKING, self._ranking),
            reranking=stage(RERANKING, reranking),
        )
        return OfflinePipeline(stages, self._items, item_state=self._state(served.item_revision))

    def _state(self, revision: int) -> ItemState:
        if revision == 0:
            return ItemState()
        if revision > len(self._item_changes):
            raise InvalidInputError("item_revision", f"{revision} is not in the item log of the workspace")
        return ItemState().after("", self._item_changes[:revision])

    def _retrieval(self, version: ModelVersion, state: ItemState) -> LocalRetrieval:
        model = TwoTowerRetriever.load(self._registry.fetch(version)).with_items(state)
        return LocalRetrieval(model, version.ref.version)

    def _cold_start(self, version: ModelVersion, state: ItemState) -> LocalColdStart:
        towers = TwoTowerRetriever.load(
            self._registry.fetch(self._registry.get(version.depends_on[RETRIEVAL]))
        )
        model = ColdStartModel.load(self._registry.fetch(version), towers.index)
        return LocalColdStart(model.with_index(towers.with_items(state).index), version.ref.version)

    def _ranking(self, version: ModelVersion, state: ItemState) -> LocalRanking:
        model = StudentRanker.load(self._registry.fetch(version)).with_items(state)
        return LocalRanking(model, version.ref.version)

    def _reranking(
        self, version: ModelVersion, state: ItemState, price_revision: int | None
    ) -> LocalReranking:
        # Its clock stands still: what is drawn again must not be cut off.
        model = DiversityReranker.load(self._registry.fetch(version), clock=lambda: 0.0)
        model = model.with_items(state)
        if price_revision is not None:
            document = self._prices()
            if document is None or document.revision != price_revision:
                raise NotFoundError(f"the exposure prices of revision {price_revision} were replaced since")
            model = model.with_prices(document.value.prices, document.revision)
        return LocalReranking(model, version.ref.version)


@dataclass(frozen=True)
class _TookNoPart:
    """Stands where the log names no version. A pipeline that asks it goes another way than the one logged."""

    stage: str

    async def retrieve(self, _user: UserState, _count: int, _request_id: str = "") -> StageReply:
        self._refuse()

    async def rank(self, _user: UserState, _candidates: Candidates) -> StageReply:
        self._refuse()

    async def rerank(
        self, _candidates: Candidates, _user: UserState, _current_latency_ms: float, _slate_length: int
    ) -> StageReply:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InvalidInputError(
            "versions", f"name none of {self.stage}, which is asked when the slate is drawn"
        )


def in_groups(impressions: Sequence[Impression]) -> Mapping[ServedUnder, list[Impression]]:
    """Impressions that one pipeline can draw, together, so that each is loaded once."""
    groups: dict[ServedUnder, list[Impression]] = {}
    for impression in impressions:
        groups.setdefault(ServedUnder.of(impression), []).append(impression)
    return groups
