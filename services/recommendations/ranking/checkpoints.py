"""Checkpoints of a training run: one file, replaced after every epoch, from which a killed run goes on.

A run that goes on gives what it would have given without the interruption: the file holds the weights, the
best weights so far, the optimiser and the state of every random generator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from streamrec.files.durable_files import make_folder, replace_with

CHECKPOINT_FILE: Final = "checkpoint.safetensors"

_STATE_KEY: Final = "state"
_IDENTITY_KEY: Final = "identity"
_DIGEST_KEY: Final = "sha256"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Attributes:
        state: JSON values: counters, figures, the state of NumPy's generator.
        tensors: Weights, optimiser and the state of torch's generators, on the CPU.
    """

    state: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Checkpoints:
    """The checkpoint of one run, in a folder of its own.

    Attributes:
        refused: Why the file that was found is not gone on from; empty where there is none, or it is.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        """Point at a folder, which is made with the first checkpoint.

        Args:
            folder: Holds `CHECKPOINT_FILE` and nothing else.
            identity: Of the data, settings, seed and code: a checkpoint of another run is not gone on from.
        """
        self._folder = folder
        self._identity = identity
        self.refused = ""

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint of this run; None where there is none that can be read."""
        path = self._folder / CHECKPOINT_FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get(_IDENTITY_KEY) != self._identity:
                    self.refused = f"{path} is of another run"
                    return None
                state: Mapping[str, Any] = json.loads(metadata[_STATE_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if _digest(metadata[_STATE_KEY], tensors) != metadata[_DIGEST_KEY]:
                    raise ValueError("its content is not what was written")
                return Checkpoint(state, tensors)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            self.refused = f"{path} cannot be read: {error}"
            return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step: a kill at any moment leaves the old one or the new one."""
        make_folder(self._folder)
        path = self._folder / CHECKPOINT_FILE
        written = path.with_suffix(".partial")
        tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
        state = json.dumps(checkpoint.state)
        metadata = {
            _IDENTITY_KEY: self._identity,
            _STATE_KEY: state,
            _DIGEST_KEY: _digest(state, tensors),
        }
        save_file(tensors, written, metadata=metadata)
        replace_with(path, written)

    def clear(self) -> None:
        """Remove what was written: the run is over."""
        path = self._folder / CHECKPOINT_FILE
        path.unlink(missing_ok=True)
        path.with_suffix(".partial").unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _digest(state: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the torch generators that training on a device draws from."""
    states = {"torch_rng": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda_rng"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` took; a run that moved to another kind of device keeps what it can."""
    torch.set_rng_state(tensors["torch_rng"])
    if device.type == "cuda" and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"], device)
