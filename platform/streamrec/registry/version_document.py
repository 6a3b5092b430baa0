"""A registered version as one JSON document, and the checks every registry makes before it stores one."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.slots import validate_slot_name
from streamrec.registry.file_formats.formats import MLMODEL_FILE, check_formats
from streamrec.registry.manifest import MANIFEST_FILE, scan
from streamrec.registry.model_registry import ModelVersion

MAXIMUM_DOCUMENT_CHARACTERS: Final = 90_000
"""MLflow keeps at most 100,000 characters in a tag."""

_ALIAS: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RESERVED_ALIAS: Final = re.compile(r"latest|v[0-9]+")
_ALIAS_MAXIMUM_LENGTH: Final = 63
_ATTACHMENT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}\.(?:json|html|parquet|csv)")
MAXIMUM_ATTACHMENT_BYTES: Final = 256 * 1024**2
_FINGERPRINT: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def validate_alias(alias: str) -> str:
    """Return ``alias`` if it is lower-case words joined by dashes and not a version in disguise.

    Raises:
        InvalidInputError: It is not, or it is ``latest`` or ``v<number>``, which MLflow keeps for itself.
    """
    if len(alias) > _ALIAS_MAXIMUM_LENGTH or not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidInputError(
            "alias", "must be lower-case words joined by dashes; 'latest' and 'v<number>' are reserved"
        )
    return alias


def validate_attachment(name: str, content: bytes = b"") -> str:
    """Return ``name`` if it is a plain file name of a kind that is kept beside an artifact.

    Raises:
        InvalidInputError: It is not, or ``content`` is longer than `MAXIMUM_ATTACHMENT_BYTES`.
    """
    if not _ATTACHMENT.fullmatch(name):
        raise InvalidInputError(
            "attachment",
            f"{name!r} must be lower-case letters, digits and dashes, ending in json, html, parquet, csv",
        )
    if len(content) > MAXIMUM_ATTACHMENT_BYTES:
        raise InvalidInputError("attachment", f"{name} has more than {MAXIMUM_ATTACHMENT_BYTES} bytes")
    return name


def stage_artifact(artifact: Path, staging: Path) -> None:
    """Check the folder that training wrote and copy its files into ``staging``, which must not exist.

    Raises:
        ArtifactError: The folder is empty, or holds a file of a refused format, a link, a hidden file, or a
            file whose name the registry keeps for itself.
    """
    try:
        manifest = scan(artifact)
        for name in (MLMODEL_FILE, MANIFEST_FILE):
            if (artifact / name).exists():
                raise ArtifactError(f"{artifact / name}: the registry writes this file itself; leave it out")
        shutil.copytree(artifact, staging, symlinks=True)
        # The copy is what is checked and stored: the original may still change.
        copied = scan(staging)
    except (OSError, shutil.Error) as error:
        raise ArtifactError(f"{artifact}: cannot be read: {error}") from error
    if copied != manifest:
        raise ArtifactError(f"{artifact}: the files changed while they were being registered")
    check_formats(staging, copied)


def validate_spec(spec: ModelSpec) -> None:
    """Check what a training run says about its artifact.

    Raises:
        InvalidInputError: A metric is not finite, a fingerprint is empty or not plain, the signature lacks
            inputs or outputs, or the slot is no slot's name.
    """
    if spec.slot is not None:
        validate_slot_name(spec.slot)
    for field, fingerprint in (
        ("data_fingerprint", spec.data_fingerprint),
        ("settings_fingerprint", spec.settings_fingerprint),
    ):
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise InvalidInputError(field, "must be 1 to 128 letters, digits, dots, dashes or underscores")
    for name in spec.attachments:
        validate_attachment(name)
    if not spec.signature.inputs or not spec.signature.outputs:
        raise InvalidInputError("signature", "must have one input and one output at least")
    for name, value in spec.metrics.items():
        if not math.isfinite(value):
            raise InvalidInputError(f"metrics.{name}", f"must be finite, not {value}")


def new_document(spec: ModelSpec, artifact_digest: str, created_at: datetime) -> str:
    """Return the document of a version that is about to be registered.

    Raises:
        InvalidInputError: As in `validate_spec`; or a parameter is not JSON, or the document is too long.
    """
    validate_spec(spec)
    document = {
        "artifact_digest": artifact_digest,
        "created_at": created_at.astimezone(UTC).isoformat(),
        **_described(spec),
    }
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError("parameters", f"must be plain JSON values ({error})") from error
    if len(text) > MAXIMUM_DOCUMENT_CHARACTERS:
        raise InvalidInputError(
            "parameters",
            f"the version's document has {len(text)} characters, at most {MAXIMUM_DOCUMENT_CHARACTERS} fit; "
            "put long tables into the artifact",
        )
    return text


def version_document(version: ModelVersion) -> str:
    """Return the document of a registered version, as `parse_document` reads it."""
    document = {
        "artifact_digest": version.artifact_digest,
        "created_at": version.created_at.astimezone(UTC).isoformat(),
        **_described(version),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def version_digest(version: ModelVersion) -> str:
    """SHA-256 (hexadecimal) of all that was said of a version when it was registered; aliases are no part.

    In canonical form: a signed document writes 24.0 as 24, and both say the same.
    """
    return hashlib.sha256(canonical_json(json.loads(version_document(version)))).hexdigest()


def _described(described: ModelSpec | ModelVersion) -> dict[str, Any]:
    """What a spec and the version made of it have in common, as plain JSON values."""
    return {
        "data_fingerprint": described.data_fingerprint,
        "depends_on": {
            role: {"name": ref.name, "version": ref.version} for role, ref in described.depends_on.items()
        },
        "metrics": {name: float(value) for name, value in described.metrics.items()},
        "parameters": dict(described.parameters),
        "settings_fingerprint": described.settings_fingerprint,
        "signature": {
            "inputs": [_tensor_document(tensor) for tensor in described.signature.inputs],
            "outputs": [_tensor_document(tensor) for tensor in described.signature.outputs],
        },
        "slot": described.slot,
        **({} if described.specification is None else {"specification": dict(described.specification)}),
        **({"attachments": dict(described.attachments)} if described.attachments else {}),
    }


def parse_document(text: str, ref: ModelRef, aliases: frozenset[str]) -> ModelVersion:
    """Return the version that a document describes.

    Raises:
        ArtifactError: The document is not one of ours.
    """
    try:
        document = json.loads(text)
        signature = document["signature"]
        return ModelVersion(
            ref=ref,
            artifact_digest=str(document["artifact_digest"]),
            data_fingerprint=str(document["data_fingerprint"]),
            settings_fingerprint=str(document["settings_fingerprint"]),
            metrics=MappingProxyType({name: float(value) for name, value in document["metrics"].items()}),
            parameters=MappingProxyType(document["parameters"]),
            depends_on=MappingProxyType(
                {
                    role: ModelRef(needed["name"], needed["version"])
                    for role, needed in document["depends_on"].items()
                }
            ),
            signature=ModelSignature(
                inputs=tuple(_tensor(tensor) for tensor in signature["inputs"]),
                outputs=tuple(_tensor(tensor) for tensor in signature["outputs"]),
            ),
            created_at=datetime.fromisoformat(document["created_at"]),
            aliases=aliases,
            slot=_slot(document.get("slot")),  # versions of before have none
            specification=_mapping(document.get("specification")),
            attachments=MappingProxyType(
                {str(name): str(digest) for name, digest in document.get("attachments", {}).items()}
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInputError) as error:
        raise ArtifactError(
            f"{ref}: its registry entry is damaged or not the platform's ({error})"
        ) from error


def _mapping(document: object) -> Mapping[str, Any] | None:
    if document is not None and not isinstance(document, dict):
        raise TypeError("its specification is not a document")
    return None if document is None else MappingProxyType(document)


def _slot(slot: object) -> str | None:
    if slot is not None and not isinstance(slot, str):
        raise TypeError("its slot is not a name")
    return slot


def _tensor_document(tensor: TensorSpec) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "name": tensor.name, "shape": list(tensor.shape)}


def _tensor(document: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(str(document["name"]), str(document["dtype"]), tuple(map(int, document["shape"])))
