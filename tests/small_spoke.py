"""A small spoke: clicks that follow from two features; predictors that go wrong; and how a version is judged.

Isolated processes import it by its own name, from this folder.
"""

# ruff: noqa: ARG001 - every predictor is called with both arguments

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.modules.setdefault("small_spoke", sys.modules[__name__])

SPECIFICATION = """\
name: shop-clicks
owner: shop
slot: shop.clicks
task: classification
predictor: small_spoke:load
evaluation:
  requests: evaluation.parquet
quality: {floor: 0.6}
no_sensitive_attributes: Requests of this shop come from machines.
"""


class Linear:
    """Scores by a weighted sum of the features."""

    def __init__(self, artifact):
        with np.load(artifact / "weights.npz", allow_pickle=False) as file:
            self.weights = file["weights"]

    def predict(self, requests):
        assert not {"label", "split"} & set(requests.columns)
        scores = 1 / (1 + np.exp(-requests[["price", "rank"]].to_numpy() @ self.weights))
        return pd.DataFrame({"score": scores})


def load(artifact, needs):
    return Linear(artifact)


class Changed(Linear):
    change = staticmethod(lambda answers: answers)

    def predict(self, requests):
        return self.change(super().predict(requests))


def _changed(change):
    def load_changed(artifact, needs):
        model = Changed(artifact)
        model.change = change
        return model

    return load_changed


answers_nan = _changed(lambda answers: answers.assign(score=np.nan))
answers_too_little = _changed(lambda answers: answers.head(1))
answers_something_else = _changed(lambda answers: answers.rename(columns={"score": "points"}))
answers_at_random = _changed(lambda answers: answers + np.random.default_rng().normal(0, 0.01, answers.shape))
answers_by_the_order_of_sets = _changed(lambda answers: answers + float(next(iter({"a", "b", "c"})) == "a"))


def answers_slowly(artifact, needs):
    model = Changed(artifact)

    def change(answers):
        time.sleep(0.012)
        return answers

    model.change = change
    return model


def needs_much_memory(artifact, needs):
    model = Linear(artifact)
    model.ballast = np.ones(40 * 1024**2 // 8)
    return model


def cannot_be_loaded(artifact, needs):
    raise ValueError("the weights are of another release")


def phones_home(artifact, needs):
    import socket

    socket.create_connection(("192.0.2.1", 443))


def reads_the_labels(artifact, needs):
    return json.loads((artifact.parent / "labels.json").read_text())


def dies(artifact, needs):
    os.abort()


def write_artifact(folder, weights=(1.0, -1.0)):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", weights=np.array(weights))
    return folder


def made_table(rows=2_000, seed=0):
    """Rows of training, then of validation; the true weights are 1 and -1."""
    rng = np.random.default_rng(seed)
    price, rank = rng.normal(size=rows), rng.normal(size=rows)
    chance = 1 / (1 + np.exp(rank - price))
    return pd.DataFrame(
        {
            "request_id": [f"r{number}" for number in range(rows)],
            "unit": [f"u{number % 700}" for number in range(rows)],
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min"),
            "split": np.where(np.arange(rows) < rows // 2, "train", "validation"),
            "label": (rng.random(rows) < chance).astype(float),
            "price": price,
            "rank": rank,
        }
    )


def train(data, until, output):
    """Learns nothing and says what it was given."""
    write_artifact(output)
    given = {"files": sorted(path.name for path in data.iterdir()), "until": until.isoformat()}
    (output / "given.json").write_text(json.dumps(given))


def trains_nothing(data, until, output):
    print("epoch 1")


def trains_badly(data, until, output):
    print("epoch 1: the loss is nan")
    raise FloatingPointError("the loss is not finite")


def features_as_trained(data, wanted):
    """Features that follow from the unit alone."""
    numbers = wanted["unit"].str.removeprefix("u").astype(int)
    return pd.DataFrame({"price": numbers / 100.0, "rank": (numbers % 7).astype(float)})
