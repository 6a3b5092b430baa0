"""The cold-start artifact on disk: one npz of arrays, one JSON of names and numbers. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import ATTRIBUTES, SegmentDesign
from services.recommendations.item_index.index import ItemIndex
from streamrec.contracts.errors import ArtifactError

ARRAYS_FILE: Final = "cold_start.npz"
SETTINGS_FILE: Final = "cold_start.json"
_FORMAT: Final = 3

NOMINAL_COVERAGES: Final = (0.50, 0.60, 0.70, 0.80, 0.90, 0.95)
"""Nominal coverages of the predictive intervals whose widths are stored (`predictive`)."""

_BLEND_FIELDS: Final = ("click_weight", "exploration", "segment_weight", "taste_weight")


@dataclass(frozen=True)
class ColdStartParts:
    """What an artifact holds beside the weights of the blend."""

    basis: CanonicalBasis
    prior: SegmentPrior
    popularity: LanguagePopularity
    interval_widths: NDArray[np.float64]


def index_digest(index: ItemIndex) -> str:
    """SHA-256 over the ids and the vectors of an index: a posterior means nothing in another space."""
    digest = hashlib.sha256("\x1f".join(index.item_ids).encode())
    digest.update(np.ascontiguousarray(index.vectors).tobytes())
    return digest.hexdigest()


def save(
    folder: Path,
    *,
    index: ItemIndex,
    basis: CanonicalBasis,
    prior: SegmentPrior,
    popularity: LanguagePopularity,
    interval_widths: NDArray[np.float64],
    blend: Mapping[str, float],
) -> None:
    """Write the parts of a cold-start model into ``folder``, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / ARRAYS_FILE,
        to_canonical=basis.to_canonical,
        from_canonical=basis.from_canonical,
        basis_mean=basis.mean,
        basis_variance=basis.variance,
        population_mean=prior.population_mean,
        between_variance=prior.between_variance,
        effect_mean=prior.effect_mean,
        effect_covariance=prior.effect_covariance,
        spread_variance=prior.spread_variance,
        log_shares=popularity.log_shares,
        interval_widths=interval_widths,
    )
    settings = {
        "format": _FORMAT,
        "index_sha256": index_digest(index),
        "levels": dict(zip(ATTRIBUTES, prior.design.levels, strict=True)),
        "languages": popularity.languages,
        "blend": dict(blend),
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def load(folder: Path, index: ItemIndex) -> tuple[ColdStartParts, dict[str, float]]:
    """Read what `save` wrote: the parts, and the weights of the blend.

    Raises:
        ArtifactError: A file is missing, damaged or of another format, or ``index`` is not the one that the
            model was trained with.
    """
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text())
        if settings["format"] != _FORMAT:
            raise ArtifactError(
                f"{folder}: format {settings['format']}, but this release reads {_FORMAT}; "
                "train the model again"
            )
        digest = settings["index_sha256"]
        design = SegmentDesign(tuple(tuple(settings["levels"][attribute]) for attribute in ATTRIBUTES))
        languages = tuple(settings["languages"])
        blend = {name: float(settings["blend"][name]) for name in _BLEND_FIELDS}
        # Opened here: NumPy leaves the file open when it is no archive.
        with (folder / ARRAYS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        basis = CanonicalBasis(
            arrays["to_canonical"], arrays["from_canonical"], arrays["basis_mean"], arrays["basis_variance"]
        )
        prior = SegmentPrior(
            design=design,
            population_mean=arrays["population_mean"],
            between_variance=arrays["between_variance"],
            effect_mean=arrays["effect_mean"],
            effect_covariance=arrays["effect_covariance"],
            spread_variance=arrays["spread_variance"],
        )
        popularity = LanguagePopularity(languages, arrays["log_shares"])
        interval_widths = arrays["interval_widths"]
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder} does not hold a readable cold-start model: {error!r}") from error
    if digest != index_digest(index):
        raise ArtifactError(
            f"{folder}: trained with other item vectors than the index at hand; load the retrieval version "
            "that the registry names in depends_on"
        )
    dimension, width = index.dimension, design.width
    if (
        basis.to_canonical.shape != (dimension, dimension)
        or len(prior.effect_mean) != width
        or popularity.log_shares.shape != (len(languages) + 1, len(index))
        or interval_widths.shape != (len(NOMINAL_COVERAGES), dimension)
        or not all(np.isfinite(array).all() for array in arrays.values())
        or not np.isfinite(list(blend.values())).all()
    ):
        raise ArtifactError(f"{folder}: the arrays do not fit each other, or hold a value that is not finite")
    return ColdStartParts(basis, prior, popularity, interval_widths), blend
