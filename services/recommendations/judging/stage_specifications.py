"""The specification of each stage, as it is packaged."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from services.recommendations.contracts.stages import MODEL_STAGES
from streamrec.contracts.specification.model_specification import SPECIFICATION_FILE, ModelSpecification


def specification_folder(stage: str) -> Path:
    """The folder that holds a stage's `model.yaml`."""
    return Path(__file__).parent / stage


@lru_cache(maxsize=1)
def stage_specifications() -> Mapping[str, ModelSpecification]:
    """The specification of every stage that answers with a model, by stage.

    Raises:
        InvalidInputError: One is not a specification.
    """
    return MappingProxyType(
        {
            stage: ModelSpecification.from_yaml(
                (specification_folder(stage) / SPECIFICATION_FILE).read_bytes()
            )
            for stage in MODEL_STAGES
        }
    )
