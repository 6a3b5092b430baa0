"""The program that reads one untrusted file with the library of its format, in a process of its own.

`checker_process` starts it by its path, without the platform's packages. It limits itself before it reads a
byte, and answers with one line of JSON. It is no module to import, except for the tests of its pure parts.

Usage: checker_program.py FORMAT MEMORY_BYTES CPU_S < FILE
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

OPERATOR_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")
"""Whose operators a model may use: those of the ONNX standard, which `onnx` itself can check. Others belong
to one runtime; some of them (``EPContext`` of ``com.microsoft``) name files or compiled code."""

_STANDARD_DOMAIN: Final = "ai.onnx"
_MAXIMUM_ANSWER_BYTES: Final = 65_536
_MAXIMUM_PROBLEM_CHARACTERS: Final = 400
_HIGHEST_DESCRIPTOR: Final = 2
"""Standard input, output and error: with no room for a fourth, no other file can be opened."""


def onnx_problem(content: bytes) -> str | None:
    """Return what is wrong with an ONNX model, or None. Nothing that it refers to is opened."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        return f"not an ONNX model, truncated, or nested too deeply ({error})"
    problem = _refused_content(model) or _nested_function(model)
    # The checker would follow external data, so it comes second; it parses the bytes again by itself.
    del model
    if problem is not None:
        return problem
    try:
        onnx.checker.check_model(content, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        ValueError,
        RuntimeError,
    ) as error:
        return f"not a valid ONNX model: {error}"
    return None


def _refused_content(model: onnx.ModelProto) -> str | None:
    """Look at every message of a model, wherever it hides: no list of places could forget one."""
    import onnx
    from google.protobuf.message import Message
    from google.protobuf.unknown_fields import UnknownFieldSet

    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        if len(UnknownFieldSet(message)) > 0:
            return f"{_named(message)} holds a field that ONNX {onnx.__version__} does not know"
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
                return f"{_named(message)} lives in another file; save the model with its weights inside"
            continue
        if (
            isinstance(message, (onnx.NodeProto, onnx.OperatorSetIdProto, onnx.FunctionProto))
            and message.domain not in OPERATOR_DOMAINS
        ):
            allowed = ", ".join(domain for domain in OPERATOR_DOMAINS if domain)
            return (
                f"{_named(message)} is of the domain {message.domain[:80]!r}; allowed are {allowed}. "
                "Export the model with standard operators and without functions; let the runtime optimise it"
            )
        for _, value in message.ListFields():
            if isinstance(value, Message):
                waiting.append(value)
            elif hasattr(value, "MergeFrom") and len(value) > 0 and isinstance(value[0], Message):
                waiting.extend(value)
    return None


def _nested_function(model: onnx.ModelProto) -> str | None:
    """Functions that call functions can call themselves, or stand for more nodes than any memory holds."""
    defined = {(function.domain or _STANDARD_DOMAIN, function.name) for function in model.functions}
    for function in model.functions:
        waiting = list(function.node)
        while waiting:
            node = waiting.pop()
            if (node.domain or _STANDARD_DOMAIN, node.op_type) in defined:
                return f"{_named(function)} calls another function of the model; inline the functions"
            for attribute in node.attribute:
                waiting.extend(attribute.g.node)
                for graph in attribute.graphs:
                    waiting.extend(graph.node)
    return None


def _named(message: Message) -> str:
    kind = message.DESCRIPTOR.name.removesuffix("Proto")
    name = getattr(message, "name", "") or getattr(message, "op_type", "")
    return f"{kind} {str(name)[:80]!r}" if name else kind


def _check_onnx(file: BinaryIO) -> str | None:
    import onnx  # noqa: F401 - before the file is read, so that a missing package is told from a bad file

    return onnx_problem(file.read())


def _check_faiss(file: BinaryIO) -> str | None:
    """Load an index while no file can be opened: one whose vectors lie elsewhere cannot be read so."""
    import faiss

    _limit(resource.RLIMIT_NOFILE, _HIGHEST_DESCRIPTOR + 1)
    try:
        faiss.read_index(faiss.PyCallbackIOReader(file.read))  # type: ignore[attr-defined]
    except RuntimeError as error:
        return f"not a FAISS index, damaged, or one whose vectors lie in another file ({error})"
    return "longer than the index in it" if file.read(1) else None


_CHECKS: Final[dict[str, Callable[[BinaryIO], str | None]]] = {"onnx": _check_onnx, "faiss": _check_faiss}


def _limit(what: int, limit: int) -> None:
    _, hard = resource.getrlimit(what)
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(what, (lowest, lowest))


def main(arguments: list[str]) -> None:
    """Check standard input; write ``{"problem": ...}``, or ``{"missing": PACKAGE}`` without the library."""
    kind, memory_bytes, cpu_s = arguments
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _MAXIMUM_ANSWER_BYTES)
    _limit(resource.RLIMIT_CPU, int(cpu_s))
    _limit(resource.RLIMIT_AS, int(memory_bytes))
    answer: dict[str, str | None]
    try:
        problem = _CHECKS[kind](sys.stdin.buffer)
        answer = {"problem": None if problem is None else _printable(problem)}
    except ImportError as error:
        answer = {"missing": _printable(error.name or str(error))}
    except MemoryError:
        answer = {"problem": f"needs more than {memory_bytes} bytes of memory to be read"}
    os.write(sys.stdout.fileno(), json.dumps(answer).encode())


def _printable(text: str) -> str:
    words = " ".join(text.split())[:_MAXIMUM_PROBLEM_CHARACTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in words)


if __name__ == "__main__":
    main(sys.argv[1:])
