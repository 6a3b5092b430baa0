"""Fitting the student to the teacher's scores."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.recommendations.ranking.student.labels import LabelledStep
from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.settings import DistillationSettings
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.progress import Progress

_WARM_UP_SHARE: Final = 0.1
_LAST_RATE: Final = 0.02
"""The learning rate at the end of training, relative to its peak."""
_LARGEST_GRADIENT_NORM: Final = 1.0


def distillation_loss(
    teacher_scores: Tensor, student_scores: Tensor, log_counts: Tensor, temperature: float
) -> Tensor:
    """Mean divergence of the student's distribution over items from the teacher's.

    KL(p || q) of p = softmax(teacher / T) and q = softmax(student / T), times T squared so that its gradient
    does not shrink with T (Hinton, Vinyals and Dean 2015, eq. 2 and 4). An item of a sample stands for as
    many as its count says: the count multiplies its probability in both.

    Args:
        teacher_scores: Shape (b, c), -inf where there is no item.
        student_scores: Shape (b, c).
        log_counts: Shape (b, c): log of how many items each one stands for.
        temperature: T.
    """
    absent = torch.isneginf(teacher_scores)
    teacher_logits = (teacher_scores / temperature + log_counts).masked_fill(absent, -torch.inf)
    student_logits = (student_scores / temperature + log_counts).masked_fill(absent, -torch.inf)
    log_p, log_q = teacher_logits.log_softmax(dim=1), student_logits.log_softmax(dim=1)
    # What is absent has probability zero in both, and no difference to multiply it with.
    difference = (log_p - log_q).masked_fill(absent, 0.0)
    return (log_p.exp() * difference).sum(dim=1).mean() * temperature**2


def distil(
    network: StudentNetwork,
    labelled: list[LabelledStep],
    segments: NDArray[np.int64],
    settings: DistillationSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> float:
    """Fit ``network`` in place; return the mean divergence from the teacher over the last epoch.

    Args:
        network: Freshly built.
        labelled: See `labels.label`.
        segments: Shape (users, attributes): see `StudentNetwork.forward`.
        settings: See `DistillationSettings`.
        rng: Source of the order of the steps.
        progress: One step a labelled history looked at.

    Raises:
        PermanentError: The loss stopped being finite.
    """
    total_steps = settings.epochs * len(labelled)
    others = [parameter for parameter in network.parameters() if parameter is not network.inputs]
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": [network.inputs], "lr": settings.input_rate * settings.learning_rate},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        settings.learning_rate,
        weight_decay=0.0,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total_steps))
    divergence = math.nan
    progress.start("student: distillation", settings.epochs * sum(step.lengths.size for step in labelled))
    network.train()
    for epoch in range(1, settings.epochs + 1):
        divergences, weights = [], []
        for place in rng.permutation(len(labelled)):
            step = labelled[place]
            loss = _divergence(network, step, segments, settings)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            divergences.append(float(loss.detach()))
            weights.append(step.lengths.size)
            progress.advance(step.lengths.size)
        divergence = float(np.average(divergences, weights=weights))
        if not math.isfinite(divergence):
            raise PermanentError(
                f"the loss of epoch {epoch} is not finite; lower student.distillation.learning_rate"
            )
        progress.advance(0, note=f"epoch {epoch}, divergence {divergence:.4f}")
    network.eval()
    progress.finish(note=f"divergence from the teacher {divergence:.4f}")
    return divergence


def _divergence(
    network: StudentNetwork,
    step: LabelledStep,
    segments: NDArray[np.int64],
    settings: DistillationSettings,
) -> Tensor:
    """Divergence of network and features together from the teacher."""
    users = network(
        torch.from_numpy(step.items),
        torch.from_numpy(step.lengths),
        torch.from_numpy(segments[step.users]),
    ).flatten(0, 1)
    top, sample = torch.from_numpy(step.top.astype(np.int64)), torch.from_numpy(step.sample)
    top_vectors = network.outputs.index_select(0, top.ravel()).view(*top.shape, -1)
    top_scores = torch.einsum("bkd,bd->bk", top_vectors, users) + network.biases[top]
    sample_scores = torch.addmm(network.biases[sample], users, network.outputs.index_select(0, sample).T)
    student_scores = torch.cat([top_scores, sample_scores], dim=1)
    student_scores = student_scores + _side_by_side(step.top_features, step.sample_features)
    teacher_scores = _side_by_side(step.top_scores, step.sample_scores)
    log_counts = torch.zeros_like(teacher_scores)
    log_counts[:, top.shape[1] :] = torch.from_numpy(step.sample_log_counts)[:, None]
    return distillation_loss(teacher_scores, student_scores, log_counts, settings.temperature)


def _side_by_side(top: NDArray[np.float32], sample: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(np.concatenate((top, sample), axis=1, dtype=np.float32))


def _rate(step: int, total_steps: int) -> float:
    warm_up = min(1.0, (step + 1) / max(1.0, _WARM_UP_SHARE * total_steps))
    done = min(1.0, step / max(1, total_steps))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done)))
