"""What no trainer learns from: a value that is not one. Every stage's ``train`` asks here first.

A data folder is checked when it is read; a `Dataset` may also have been put together or changed in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, SEGMENT_COLUMNS, USERS_FILE, Dataset


def check_columns(dataset: Dataset) -> None:
    """Refuse a data set with a missing id, time, text or segment value, or a number that is infinite.

    What the format allows to be unknown stays allowed: ``unknown`` attributes, no topics, no time of
    publication or sign-up, no rating.

    Raises:
        DataFolderError: Names file and column, and how many values are at fault.
    """
    catalogue, interactions = dataset.catalogue, dataset.interactions
    for column in ("user_id", "item_id", "timestamp"):
        _refuse(dataset, INTERACTIONS_FILE, column, interactions[column].isna())
    for column in interactions.columns:
        if pd.api.types.is_float_dtype(interactions[column].dtype):
            _refuse(dataset, INTERACTIONS_FILE, str(column), np.isinf(interactions[column].to_numpy()))
    for column in ("user_id", *SEGMENT_COLUMNS):
        if column in dataset.users:
            _refuse(dataset, USERS_FILE, column, dataset.users[column].isna())
    texts: Mapping[str, Iterable[object]] = {
        "item_id": catalogue.item_ids,
        "title": catalogue.titles,
        "creator_id": catalogue.creator_ids,
        "creator_language": catalogue.creator_languages,
    }
    for column, values in texts.items():
        _refuse(dataset, ITEMS_FILE, column, [not isinstance(value, str) for value in values])
    no_texts = [not all(isinstance(topic, str) for topic in topics) for topics in catalogue.topics]
    _refuse(dataset, ITEMS_FILE, "topics", no_texts)


def check_features(names: Iterable[str], values: NDArray[np.floating]) -> None:
    """Refuse features that are not finite.

    Args:
        names: One for each of the last axis.
        values: Shape (..., features).

    Raises:
        InvalidInputError: Names the first feature at fault.
    """
    finite = np.isfinite(values).all(axis=tuple(range(values.ndim - 1)))
    for name, usable in zip(names, np.atleast_1d(finite).tolist(), strict=True):
        if not usable:
            raise InvalidInputError(f"features.{name}", "holds NaN or an infinity; training on it is refused")


def _refuse(dataset: Dataset, file: str, column: str, wrong: Iterable[bool]) -> None:
    count = int(np.count_nonzero(np.asarray(wrong, dtype=np.bool_)))
    if count:
        raise DataFolderError(
            dataset.folder / file,
            column,
            f"{count} values are missing or not usable: training on them is refused; import the folder "
            "again to quarantine their rows",
        )
