"""Latency of ranking 500 candidates on one core, teacher beside student; of the student its features alone,
and its network in three runtimes.

    OMP_NUM_THREADS=1 python tests/benchmarks/benchmark_ranking.py [--teacher FOLDER]

Without a folder the teacher has the default sizes and tables of a made-up catalogue: what it says is
meaningless, how long it takes is not. ONNX Runtime takes part where `onnx` and `onnxruntime` are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, Segment, UserState
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.combination import LOGITS, Combination
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.network import SequenceNetwork
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import FeatureSettings, NetworkSettings
from services.recommendations.ranking.student.export import serving_weights
from services.recommendations.ranking.student.features import FeatureScorer, FeatureTables
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.runtime import RMS_EPSILON, StudentScorer
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.splits import UserHistories

ITEMS, INTERACTIONS, USERS, REQUESTS = 9_000, 100_000, 700, 400
HISTORIES = (20, 100, 200)
NO_SEGMENTS = SegmentTable(((), (), (), ()))


class TableStudent(nn.Module):
    """The student's arithmetic on the same tables, as a torch module: run by torch, or exported to ONNX."""

    def __init__(self, student: StudentRanker) -> None:
        super().__init__()
        self.settings = student.settings
        for name in (
            "inputs",
            "keys",
            "values",
            "outputs",
            "biases",
            "pool_weights",
            "lag_biases",
            "query",
            "query_bias",
            "state",
            "direct_bias",
            "hidden_bias",
            "contract",
        ):
            self.register_buffer(name, torch.from_numpy(getattr(student.weights, name)))

    def forward(self, history: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Rows of at least ``newest_count`` items, oldest first, and rows of c candidates to c scores."""
        settings, d, heads = self.settings, self.settings.dimension, self.settings.head_count
        newest_first = history.flip(0)
        length = newest_first.shape[0]
        vectors = self.inputs[newest_first]
        pool_weights = self.pool_weights[:, :length]
        pools = (pool_weights @ vectors) / pool_weights.sum(dim=1, keepdim=True)
        seen = torch.cat([vectors[: settings.newest_count].reshape(-1), pools.reshape(-1)])
        query = (self.query @ seen + self.query_bias).view(heads, 1, d // heads)
        keys = self.keys[newest_first].view(-1, heads, d // heads).permute(1, 2, 0)
        attention = ((query @ keys)[:, 0] + self.lag_biases[:, :length]).softmax(dim=1)
        values = self.values[newest_first].view(-1, heads, d // heads).transpose(0, 1)
        state = torch.cat([seen, (attention[:, None] @ values).reshape(-1)])
        products, size = self.state @ state, self.direct_bias.shape[0]
        hidden = products[size:] / torch.sqrt((state * state).mean() + RMS_EPSILON) + self.hidden_bias
        user = products[:size] + self.contract @ hidden.relu() + self.direct_bias
        return self.outputs[candidates] @ user + self.biases[candidates]


def made_up_teacher(rng: np.random.Generator) -> RankingModel:
    popularity = rng.dirichlet(np.full(ITEMS, 0.3))
    items = rng.choice(ITEMS, size=INTERACTIONS, p=popularity).astype(np.int32)
    offsets = np.linspace(0, INTERACTIONS, USERS + 1).astype(np.int64)
    train = UserHistories(
        tuple(f"u{user}" for user in range(USERS)), offsets, items, np.arange(INTERACTIONS, dtype=np.int64)
    )
    catalogue = Catalogue(
        item_ids=tuple(f"item-{item}" for item in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=tuple(f"c{item % 3000}" for item in range(ITEMS)),
        creator_languages=tuple(f"l{item % 12}" for item in range(ITEMS)),
        topics=tuple((f"t{item % 20}", f"t{item % 7}x") for item in range(ITEMS)),
        published_at=np.array([f"{1960 + item % 60}-01-01" for item in range(ITEMS)], dtype="datetime64[s]"),
    )
    settings = NetworkSettings()
    network = SequenceNetwork(
        ContentTable.of(catalogue, settings.minimum_feature_count),
        np.bincount(items, minlength=ITEMS),
        NO_SEGMENTS.sizes,
        settings,
    )
    weights = np.full(len(LOGITS) + len(FEATURES), 0.1, dtype=np.float32)
    tables = CandidateTables.fit(train, catalogue, FeatureSettings())
    return RankingModel.of(catalogue.item_ids, settings, network, NO_SEGMENTS, tables, Combination(weights))


def made_up_student(teacher: RankingModel) -> StudentRanker:
    settings = StudentNetworkSettings()
    network = StudentNetwork(
        settings,
        teacher.vectors,
        np.zeros(len(teacher.item_ids), dtype=np.float32),
        NO_SEGMENTS.sizes,
    )
    features = FeatureTables.of(teacher.tables, teacher.feature_weights)
    return StudentRanker(teacher.item_ids, settings, serving_weights(network), NO_SEGMENTS, features)


def onnx_session(module: TableStudent) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        return None
    import onnxruntime

    file = io.BytesIO()
    example = (torch.arange(20), torch.arange(50))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the older one
        torch.onnx.export(
            module,
            example,
            file,
            dynamo=False,
            opset_version=17,
            input_names=["history", "candidates"],
            output_names=["scores"],
            dynamic_axes={"history": {0: "h"}, "candidates": {0: "c"}, "scores": {0: "c"}},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda history, candidates: session.run(
        ["scores"], {"history": history, "candidates": candidates}
    )[0]


def milliseconds(calls: list[Callable[[], object]]) -> np.ndarray:
    """Thread time of each call: on a machine that does other work too, it is the one that compares."""
    for call in calls[:20]:
        call()
    taken = np.empty(len(calls))
    for place, call in enumerate(calls):
        start = time.thread_time()
        call()
        taken[place] = time.thread_time() - start
    return taken * 1000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, help="a ranker's artifact folder")
    folder = parser.parse_args().teacher
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    teacher = made_up_teacher(rng) if folder is None else RankingModel.load(folder)
    student = made_up_student(teacher)
    scorer, module = StudentScorer(student.settings, student.weights), TableStudent(student).eval()
    features = FeatureScorer(student.features, student.settings.table_length)
    nobody = np.zeros(4, dtype=np.int64)

    def with_torch(history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(history), torch.from_numpy(candidates)).numpy()

    runtimes: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "network by NumPy": lambda history, candidates: scorer.scores(history, nobody, candidates),
        "network by torch": with_torch,
    }
    with_onnx = onnx_session(module)
    if with_onnx is None:
        print("ONNX Runtime is left out: onnx and onnxruntime are not both installed")
    else:
        runtimes["network by ONNX"] = with_onnx
    print(
        f"{CANDIDATE_COUNT} candidates of {len(teacher.item_ids)}, one thread, thread time, {REQUESTS} calls"
    )
    print(f"{'history':>7}  {'what':<26}{'p50 ms':>8}{'p99 ms':>8}{'of teacher':>12}")
    for length in HISTORIES:
        requests = [
            (
                rng.choice(len(teacher.item_ids), length),
                rng.choice(len(teacher.item_ids), CANDIDATE_COUNT, replace=False),
            )
            for _ in range(REQUESTS)
        ]
        users = [
            (
                UserState("u", history=tuple(teacher.item_ids[row] for row in history)),
                Candidates(
                    tuple(teacher.item_ids[row] for row in candidates),
                    np.zeros(CANDIDATE_COUNT, dtype=np.float32),
                ),
            )
            for history, candidates in requests
        ]
        expected = scorer.scores(requests[0][0], nobody, requests[0][1])
        figures = {}
        for name, ranker in (("teacher, rank", teacher), ("student, rank", student)):
            figures[name] = milliseconds([lambda r=ranker, u=user: r.rank(*u) for user in users])
        figures["student, features"] = milliseconds(
            [lambda r=request: features.scores(r[0], Segment(), r[1]) for request in requests]
        )
        for name, scores in runtimes.items():
            np.testing.assert_allclose(scores(*requests[0]), expected, rtol=1e-3, atol=1e-3)
            figures[f"student, {name}"] = milliseconds(
                [lambda s=scores, r=request: s(*r) for request in requests]
            )
        base = np.median(figures["teacher, rank"])
        for name, taken in figures.items():
            p50, p99 = np.percentile(taken, [50, 99])
            print(f"{length:>7}  {name:<26}{p50:>8.3f}{p99:>8.3f}{p50 / base:>12.3f}")


if __name__ == "__main__":
    main()
