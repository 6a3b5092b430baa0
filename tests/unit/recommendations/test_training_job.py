from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.recommendations.jobs.training import SERVED_STAGES, STAGES, TrainingJob, train_stages
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelRef, ModelSignature
from streamrec.contracts.progress import SilentProgress
from streamrec.registry.model_registry import ModelVersion


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
