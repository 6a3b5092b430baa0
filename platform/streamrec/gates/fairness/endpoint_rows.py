"""Asking a model behind the Open Inference Protocol (v2) for the scores of rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.gates.fairness.audited_rows import AuditedChunk
from streamrec.gates.fairness.csv_rows import chunks_of, header_of, labels_of, require_columns

_ROWS_A_REQUEST: Final = 1_000
_MAXIMUM_ANSWER_BYTES: Final = 16 * 1024 * 1024
_INTEGERS: Final = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_FLOATS: Final = ("FP16", "FP32", "FP64", "BF16")


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output, as the server's metadata describes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class InferenceEndpoint:
    """One model of a server.

    Args:
        url: ``http(s)://HOST/v2/models/NAME``, with or without ``/versions/V`` and ``/infer``.
        client: Of httpx; its time limits are the caller's.

    Raises:
        InvalidInputError: It is no such URL.
    """

    def __init__(self, url: str, client: httpx.Client) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "/v2/models/" not in parts.path:
            raise InvalidInputError("--endpoint", "must be of the form http://HOST:PORT/v2/models/NAME")
        self._model = url.rstrip("/").removesuffix("/infer")
        self._client = client

    def metadata(self) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs and outputs of the model.

        Raises:
            DependencyError: The server does not answer, or not as the protocol says.
        """
        answer = self._exchange("GET", self._model, None)
        return _tensors(answer.get("inputs")), _tensors(answer.get("outputs"))

    def scores(
        self, inputs: Sequence[Mapping[str, Any]], rows: int, output: str | None
    ) -> NDArray[np.float64]:
        """Score each row.

        Args:
            inputs: Tensors as the protocol has them.
            rows: How many there are.
            output: Which output holds the score; None: the only one.

        Returns:
            Shape (rows,); of an output with two columns the second, the chance of a yes.

        Raises:
            DependencyError: As in `metadata`.
            InvalidInputError: The answer is no score for each row.
        """
        answer = self._exchange("POST", f"{self._model}/infer", {"inputs": list(inputs)})
        outputs = answer.get("outputs")
        named = {
            found["name"]: found
            for found in (outputs if isinstance(outputs, list) else [])
            if isinstance(found, dict) and isinstance(found.get("name"), str)
        }
        if output is None and len(named) != 1:
            raise InvalidInputError(
                "--output", f"must be one of the model's outputs: {', '.join(sorted(named))}"
            )
        chosen = named.get(output) if output is not None else next(iter(named.values()))
        if chosen is None:
            raise InvalidInputError(
                "--output", f"{output!r} is no output; there are {', '.join(sorted(named))}"
            )
        try:
            values = np.asarray(chosen.get("data"), dtype=np.float64).ravel()
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                "--endpoint", f"the output {chosen['name']!r} holds no numbers"
            ) from error
        if len(values) == 2 * rows:
            values = values.reshape(rows, 2)[:, 1]
        if len(values) != rows:
            raise InvalidInputError("--endpoint", f"answered {len(values)} scores to {rows} rows")
        if not np.isfinite(values).all():
            raise InvalidInputError("--endpoint", "answered a score that is no finite number")
        return values

    def _exchange(self, method: str, url: str, content: Any) -> dict[str, Any]:
        try:
            with self._client.stream(method, url, json=content) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > _MAXIMUM_ANSWER_BYTES:
                        raise DependencyError(f"{url} answers more than {_MAXIMUM_ANSWER_BYTES} bytes")
        except httpx.HTTPError as error:
            raise DependencyError(f"{url} did not answer: {type(error).__name__}: {error}") from error
        if response.status_code != httpx.codes.OK:
            told = bytes(body[:200]).decode("utf-8", "replace")
            raise DependencyError(f"{url} answers {response.status_code}: {' '.join(told.split())}")
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise DependencyError(f"{url} answers what is no JSON") from error
        if not isinstance(answer, dict):
            raise DependencyError(f"{url} answers what is no JSON object")
        return answer


def endpoint_chunks(
    endpoint: InferenceEndpoint,
    path: Path,
    *,
    label: str,
    groups: Sequence[str],
    features: Sequence[str] = (),
    output: str | None = None,
) -> Iterator[AuditedChunk]:
    """Yield the rows of a file with the scores that a server gives them.

    Args:
        endpoint: The model.
        path: The file.
        label: Column that holds 0 or 1; it is not sent.
        groups: Columns of groups; sent where the model has an input of that name.
        features: Columns in the order in which a model with one input for all of them takes them; empty: all
            but the label and the groups.
        output: Which output holds the score.

    Raises:
        InvalidInputError: The file lacks a column that the model takes, or a cell is of another type.
        DependencyError: The server does not answer as the protocol says.
    """
    names = header_of(path)
    require_columns(
        path,
        names,
        {label: "--label", **dict.fromkeys(groups, "--groups"), **dict.fromkeys(features, "--features")},
    )
    inputs, _ = endpoint.metadata()
    chosen = list(features) or [name for name in names if name != label and name not in groups]
    by_name = bool(inputs) and all(tensor.name in names for tensor in inputs)
    sent = [tensor.name for tensor in inputs] if by_name else chosen
    if label in sent:
        raise InvalidInputError(
            "--label", f"the model takes {label!r} as an input: it would be told the truth"
        )
    if not by_name and len(inputs) != 1:
        missing = next((tensor.name for tensor in inputs if tensor.name not in names), "any")
        raise InvalidInputError("--data", f"{path} has no column {missing!r}, which the model takes")
    for row, table in chunks_of(path, list(dict.fromkeys([label, *groups, *sent]))):
        for start in range(0, table.num_rows, _ROWS_A_REQUEST):
            part = table.slice(start, _ROWS_A_REQUEST)
            first = row + start
            tensors = (
                [_column(tensor, part, first) for tensor in inputs]
                if by_name
                else [_matrix(inputs[0], part, sent, first)]
            )
            yield AuditedChunk(
                first_row=first,
                labels=labels_of(part[label], label, first),
                scores=endpoint.scores(tensors, part.num_rows, output),
                groups={name: part[name] for name in groups},
            )


def _tensors(described: Any) -> list[Tensor]:
    if described is None:
        return []
    try:
        return [
            Tensor(str(one["name"]), str(one["datatype"]), tuple(int(size) for size in one["shape"]))
            for one in described
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DependencyError(
            "the server's metadata is not that of the Open Inference Protocol (v2)"
        ) from error


def _column(tensor: Tensor, table: pa.Table, first_row: int) -> dict[str, Any]:
    shape = [table.num_rows, 1] if len(tensor.shape) > 1 else [table.num_rows]
    data = _values(table[tensor.name], tensor, tensor.name, first_row)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data}


def _matrix(tensor: Tensor, table: pa.Table, columns: Sequence[str], first_row: int) -> dict[str, Any]:
    wanted = tensor.shape[-1] if len(tensor.shape) > 1 else 1
    if wanted not in (-1, len(columns)):
        raise InvalidInputError(
            "--features",
            f"the model takes {wanted} columns and is given {len(columns)}: name them in order",
        )
    cells = [_values(table[name], tensor, name, first_row) for name in columns]
    data = [value for row in zip(*cells, strict=True) for value in row]
    shape = [table.num_rows, len(columns)]
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": data}


def _values(column: pa.ChunkedArray, tensor: Tensor, name: str, first_row: int) -> list[Any]:
    texts: list[Any] = column.to_pylist()
    if tensor.datatype == "BYTES":
        return texts
    if tensor.datatype not in (*_INTEGERS, *_FLOATS, "BOOL"):
        raise InvalidInputError("--endpoint", f"the input {tensor.name!r} is of the type {tensor.datatype}")
    values: list[Any] = []
    for place, text in enumerate(texts):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        whole = tensor.datatype in (*_INTEGERS, "BOOL")
        if not math.isfinite(number) or (whole and not number.is_integer()):
            kind = "a whole number" if whole else "a number"
            raise InvalidInputError(
                "--data", f"column {name!r} must hold {kind}; row {first_row + place} holds {text[:60]!r}"
            )
        values.append(bool(number) if tensor.datatype == "BOOL" else int(number) if whole else number)
    return values
