"""HateCheck in three parts: what a toxicity model learns from, and two halves that versions are judged on.

It learns little of two languages, so that its errors differ by language.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from services.moderation.toxicity import training
from streamrec.gates.fairness.thresholds import THRESHOLDS_FILE

LANGUAGES = ("arabic", "french", "german", "hindi", "spanish")
LEARNED = {"arabic": 0.02, "french": 0.3, "german": 0.3, "hindi": 0.02, "spanish": 0.3}
"""Share of each language that the model is trained on."""
FIRST_HALF = 0.65
"""Of the rest, up to here: what the first version is judged on, and thresholds are fitted on."""
SPECIFICATION = Path(training.__file__).with_name("model.yaml")


def hateful_comments(data_root: Path) -> pd.DataFrame:
    """Every case of HateCheck, with the part that it is for: trained on, first half, second half."""
    numbers = np.random.default_rng(7)
    tables = []
    for language in LANGUAGES:
        cases = pd.read_csv(data_root / "hatecheck" / f"hatecheck_cases_final_{language}.csv")
        place = numbers.random(len(cases))
        part = np.where(place < LEARNED[language], 0, np.where(place < FIRST_HALF, 1, 2))
        tables.append(
            pd.DataFrame(
                {
                    "unit": cases["mhc_case_id"],
                    "text": cases["test_case"],
                    "label": (cases["label_gold"] == "hateful").astype(float),
                    "language": language,
                    "part": part,
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    # What a model is judged on is written after what it learned from.
    days = pd.to_timedelta(table["part"] * 30, unit="D")
    seconds = pd.to_timedelta(np.arange(len(table)), unit="s")
    return table.assign(at=pd.Timestamp("2024-01-01", tz="UTC") + days + seconds)


def write_folder(folder: Path, comments: pd.DataFrame, judged_part: int) -> None:
    """A model's folder: its specification, the trained artifact, and what it is judged on."""
    learned = comments[comments["part"] == 0]
    learned.to_parquet(folder.parent / training.COMMENTS_FILE)
    training.train(folder.parent, learned["at"].max() + pd.Timedelta("1s"), folder / "artifact")
    _write_rest(folder, comments, judged_part)


def write_mitigated(
    folder: Path, first: Path, comments: pd.DataFrame, judged_part: int, thresholds: Mapping[str, object]
) -> None:
    """The folder of the same weights with a threshold for each language."""
    shutil.copytree(first / "artifact", folder / "artifact")
    (folder / "artifact" / THRESHOLDS_FILE).write_text(json.dumps(thresholds))
    _write_rest(folder, comments, judged_part)


def _write_rest(folder: Path, comments: pd.DataFrame, judged_part: int) -> None:
    shutil.copyfile(SPECIFICATION, folder / SPECIFICATION.name)
    judged = comments[comments["part"].isin([0, judged_part])]
    judged.assign(
        request_id=judged["unit"],
        split=np.where(judged["part"] == 0, "train", "validation"),
        **{"group.language": judged["language"]},
    ).drop(columns="part").to_parquet(folder / "evaluation.parquet")
