"""The two-tower model on real data: at least as good as the baselines that know nothing of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.train import train
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers.movielens import import_movielens
from streamrec.training.baselines import BASELINES
from streamrec.training.evaluation import evaluate, paired_difference
from streamrec.training.splits import leave_last_out


@pytest.mark.slow
def test_retrieval_keeps_up_with_the_baselines_on_movielens(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "movielens-small"
    if not source.is_dir():
        pytest.skip(f"no movielens-small in {data_root}")
    import_movielens(source, tmp_path / "data", SilentProgress())
    dataset = load_dataset(tmp_path / "data")
    split = leave_last_out(dataset)
    baselines = {
        name: evaluate(fit(split.train, len(split.catalogue)), split, seed=0)
        for name, fit in BASELINES.items()
    }
    train(
        TrainingInput(dataset, split, 11, SilentProgress()),
        RetrievalSettings(epoch_count=3),
        tmp_path / "artifact",
    )
    model = RetrieverAsCatalogueRanker(
        TwoTowerRetriever.load(tmp_path / "artifact"), split.catalogue, segments_by_user(dataset)
    )
    two_tower = evaluate(model, split, seed=0)
    assert (
        two_tower.metrics["recall@500"].value
        >= baselines["ease"].metrics["recall@500"].value
        > baselines["popularity"].metrics["recall@500"].value
    )
    assert two_tower.metrics["hit@10"].value >= baselines["itemknn"].metrics["hit@10"].value
    # Beyond what the same users could show by chance.
    assert paired_difference(two_tower, baselines["ease"], "recall@500", seed=0).low > 0.0
    assert paired_difference(two_tower, baselines["itemknn"], "hit@10", seed=0).low > 0.0
