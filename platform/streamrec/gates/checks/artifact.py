"""The artifact gate: the files are those that were registered, of allowed formats, and answer the same twice.

Formats and names are judged before anything is loaded; then two processes load the version and answer the
same few requests. They start with different seeds of everything that Python draws by itself, so that an
answer that depends on any of it differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.results import Reason, Result
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import MEBIBYTE, ArtifactLimits
from streamrec.gates.contenders import Answers, Contender, ask, joined
from streamrec.gates.gate_results import gate_result, reason
from streamrec.gates.runner import Enforcement, GateRunner, SandboxLimits, TaskEnd
from streamrec.registry.file_formats.formats import MLMODEL_FILE, check_formats
from streamrec.registry.manifest import MANIFEST_FILE, Manifest, ManifestEntry, scan, verify_manifest

SMOKE_ROWS: Final = 16
_PROCESSES: Final = 2
"""That answer the same requests, beside each other."""

_SHOWN_LOG_CHARACTERS: Final = 2_000

_CODES: Final = {
    TaskEnd.MEMORY_EXCEEDED: "memory_exceeded",
    TaskEnd.TIME_EXCEEDED: "time_exceeded",
    TaskEnd.OUTPUT_EXCEEDED: "output_exceeded",
    TaskEnd.REFUSED: "tried_what_is_refused",
}


@dataclass(frozen=True, slots=True)
class ArtifactEvidence:
    """What was found.

    Attributes:
        subject: The version.
        files: All of them; empty where they could not be listed.
        files_problem: Why the files are not those of the version; empty where they are.
        format_problem: What a file is that it must not be; empty where all are of allowed formats.
        ends: How each process ended that let it answer; empty where nothing was loaded.
        answers_problem: Why its answers cannot be used; empty where they can.
        digests: SHA-256 of the answers of each process.
        log: The end of what the first failing process printed.
        peak_memory_bytes: Of the processes, the larger one.
        enforcement: How they were isolated; None where nothing ran.
    """

    subject: str
    files: tuple[ManifestEntry, ...] = ()
    files_problem: str = ""
    format_problem: str = ""
    ends: tuple[TaskEnd, ...] = ()
    answers_problem: str = ""
    digests: tuple[str, ...] = ()
    log: str = ""
    peak_memory_bytes: int = 0
    enforcement: Enforcement | None = None

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(entry.size_bytes for entry in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "files": [
                {"path": entry.path, "size_bytes": entry.size_bytes, "sha256": entry.sha256}
                for entry in self.files
            ],
            "total_bytes": self.total_bytes,
            "ends": [end.value for end in self.ends],
            "answers_sha256": list(self.digests),
            "peak_memory_bytes": self.peak_memory_bytes,
            "log": self.log,
        }


def judge_artifact(evidence: ArtifactEvidence, limits: ArtifactLimits) -> Result:
    """Decide; pure."""
    return gate_result(
        GateName.ARTIFACT,
        evidence.subject,
        {**evidence.to_json(), "maximum_bytes": limits.maximum_mib * MEBIBYTE},
        failed=_failed(evidence, limits),
    )


def collect_artifact(
    contender: Contender, requests: pd.DataFrame, runner: GateRunner, limits: SandboxLimits
) -> ArtifactEvidence:
    """Look at the files, and where nothing is wrong with them let the version answer twice.

    Args:
        contender: The version.
        requests: Validation rows; the first `SMOKE_ROWS` are asked.
        runner: Where it runs.
        limits: What it may use.
    """
    subject, digest = contender.subject, contender.artifact_digest
    if contender.problem:
        return ArtifactEvidence(subject, files_problem=contender.problem)
    try:
        manifest = (
            _new_files(contender.artifact) if digest is None else verify_manifest(contender.artifact, digest)
        )
    except (ArtifactError, OSError) as error:
        return ArtifactEvidence(subject, files_problem=str(error))
    try:
        check_formats(contender.artifact, manifest)
    except ArtifactError as error:
        return ArtifactEvidence(subject, manifest.entries, format_problem=str(error))
    few = requests.head(SMOKE_ROWS)
    with ThreadPoolExecutor(max_workers=_PROCESSES) as pool:
        answers = list(pool.map(lambda _: ask(contender, few, runner, limits), range(_PROCESSES)))
    problem = next((one.problem for one in answers if one.problem), "")
    if not problem:
        try:
            joined(answers[0], few, contender.specification)
        except InvalidInputError as error:
            problem = f"its answers cannot be used: {error}"
    return ArtifactEvidence(
        subject,
        manifest.entries,
        ends=tuple(one.run.end for one in answers),
        answers_problem=problem,
        digests=tuple(_digest(one) for one in answers if one.table is not None),
        log=answers[0].run.log[-_SHOWN_LOG_CHARACTERS:] if problem else "",
        peak_memory_bytes=max(one.run.peak_memory_bytes for one in answers),
        enforcement=Enforcement.weakest(*(one.run.enforcement for one in answers)),
    )


def _new_files(folder: Path) -> Manifest:
    manifest = scan(folder)
    for name in (MLMODEL_FILE, MANIFEST_FILE):
        if (folder / name).exists():
            raise ArtifactError(f"{folder / name}: the registry writes this file itself; leave it out")
    return manifest


def _digest(answers: Answers) -> str:
    """Of the values, bit by bit, whatever the file around them looks like."""
    digest = hashlib.sha256()
    if answers.table is not None:
        for batch in answers.table.combine_chunks().to_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                digest.update(f"{name} {len(column)}\n".encode())
                digest.update(repr(column.to_pylist()).encode())
    return digest.hexdigest()


def _failed(evidence: ArtifactEvidence, limits: ArtifactLimits) -> Iterator[Reason]:
    if evidence.files_problem:
        yield reason(
            "files_differ",
            "artifact",
            f"the files are not those of the version: {evidence.files_problem}. Nothing was loaded; register "
            "the version again from the folder that training wrote",
        )
    if evidence.format_problem:
        yield reason("format_refused", "artifact", f"{evidence.format_problem}. Nothing was loaded")
    if evidence.total_bytes > limits.maximum_mib * MEBIBYTE:
        yield reason(
            "too_large",
            "artifact.maximum_mib",
            f"the files have {evidence.total_bytes / MEBIBYTE:.1f} MiB; at most {limits.maximum_mib} are "
            "allowed. Make it smaller, or ask for a higher limit in model.yaml",
        )
    bad = next((end for end in evidence.ends if end is not TaskEnd.COMPLETED), None)
    if bad is not None:
        yield reason(
            _CODES.get(bad, "does_not_load"),
            "predictor",
            f"the version could not be loaded and asked in isolation: {evidence.answers_problem}{_hint(bad)}",
        )
    elif evidence.answers_problem:
        yield reason("answers_refused", "predictor", evidence.answers_problem)
    if len(set(evidence.digests)) > 1:
        yield reason(
            "answers_differ",
            "predictor",
            "two processes gave different answers to the same requests: draw random numbers by a seed that "
            "belongs to the request, and do not depend on the order of sets or on the time",
        )


def _hint(end: TaskEnd) -> str:
    if end is not TaskEnd.REFUSED:
        return ""
    return ". A version has no network, starts no process, and reads nothing but its inputs"
