from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from services.recommendations.jobs.training import SERVED_STAGES, STAGES, TrainingJob, train_stages
from services.recommendations.ranking import train as ranking_training
from services.recommendations.retrieval import train as retrieval_training
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelRef, ModelSignature
from streamrec.contracts.progress import SilentProgress
from streamrec.registry.model_registry import ModelVersion
from streamrec.training.splits import Split, UserHistories


class EverythingTrained:
    """A registry that has a version of everything; remembers what was asked for and what was promoted."""

    def __init__(self):
        self.fingerprints, self.promoted = {}, []

    def find(self, name, *, data_fingerprint, settings_fingerprint):
        assert data_fingerprint == "data"
        self.fingerprints[name] = settings_fingerprint
        return ModelVersion(
            ModelRef(name, 3),
            f"digest of {name}",
            "data",
            settings_fingerprint,
            {},
            {},
            {},
            ModelSignature((), ()),
            datetime(2026, 1, 1, tzinfo=UTC),
            frozenset(),
        )

    def set_alias(self, ref, alias):
        self.promoted.append((str(ref), alias))


def job(registry, seed=1):
    return TrainingJob(SimpleNamespace(fingerprint="data"), registry, Path("unused"), seed, SilentProgress())


def test_training_promotes_nothing():
    registry = EverythingTrained()
    train_stages(
        STAGES,
        SimpleNamespace(fingerprint="data"),
        registry,
        Path("unused"),
        seed=1,
        progress=SilentProgress(),
    )
    assert registry.fingerprints
    assert registry.promoted == []


def test_the_student_is_trained_on_its_teacher_and_the_teacher_alone_does_not_serve():
    registry = EverythingTrained()
    job(registry).version("ranking")
    assert list(registry.fingerprints) == ["recommendations-ranking-teacher", "recommendations-ranking"]
    assert set(STAGES) - set(SERVED_STAGES) == {"ranking_teacher"}


@pytest.mark.parametrize("stage", STAGES)
def test_another_seed_is_another_version(stage):
    first, second = EverythingTrained(), EverythingTrained()
    job(first).version(stage)
    job(second, seed=2).version(stage)
    assert first.fingerprints.keys() == second.fingerprints.keys()
    assert all(first.fingerprints[name] != second.fingerprints[name] for name in first.fingerprints)


def test_an_unknown_stage_is_named():
    with pytest.raises(InvalidInputError, match="sorting"):
        job(EverythingTrained()).version("sorting")


class NothingTrained:
    def find(self, _name, **_fingerprints):
        """Finds nothing."""


@pytest.mark.parametrize("stage", STAGES[:2])
def test_data_that_cannot_be_evaluated_is_refused_before_the_work(tmp_path, monkeypatch, stage):
    everybody_repeats = Split(
        catalogue=None,
        train=UserHistories(("a",), np.array([0, 2]), np.array([1, 2], np.int32), np.array([1, 2])),
        history=UserHistories(("a",), np.array([0, 3]), np.array([1, 2, 1], np.int32), np.array([1, 2, 3])),
        evaluated=np.array([0], np.int32),
        validation=np.array([1], np.int32),
        test=np.array([2], np.int32),
    )
    worked = []
    for module in (retrieval_training, ranking_training):
        monkeypatch.setattr(module, "train", lambda *_, **__: worked.append("trained"))
    monkeypatch.setattr("services.recommendations.jobs.training.leave_last_out", lambda _: everybody_repeats)
    dataset = SimpleNamespace(fingerprint="data")
    run = TrainingJob(dataset, NothingTrained(), tmp_path, 1, SilentProgress())
    with pytest.raises(InvalidInputError, match="had the item that is held out for validation before"):
        run.version(stage)
    assert worked == []
