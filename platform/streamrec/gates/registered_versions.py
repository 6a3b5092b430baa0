"""From a registered version to a contender: its specification, its verified files, what it answers with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ArtifactError, InvalidInputError, NotFoundError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.contenders import Contender
from streamrec.gates.needed_versions import needed_versions
from streamrec.registry.model_registry import ModelRegistry, ModelVersion

EVALUATION_STEM: Final = "evaluation"
TRAINING_ROWS_STEM: Final = "training-rows"
_NOWHERE: Final = Path("/nowhere")


def specification_of(version: ModelVersion) -> ModelSpecification:
    """What a version was registered with.

    Raises:
        NotFoundError: It was registered without a specification; says what to do.
        InvalidInputError: This release cannot read its specification.
    """
    if version.specification is None:
        raise NotFoundError(
            f"{version.ref} was registered without a specification, so nothing can judge it: register it "
            "from a folder with a model.yaml (streamrec models register FOLDER), or train it again"
        )
    return ModelSpecification.from_json(version.specification)


def registered_contender(
    version: ModelVersion,
    registry: ModelRegistry,
    data: Path | None = None,
    *,
    instead: ModelSpecification | None = None,
) -> Contender:
    """A registered version, ready to be judged.

    Args:
        version: Which one.
        registry: Where its files are.
        data: The data folder, where there is one.
        instead: By which it answers where it was registered without a specification: that of the version
            that wants to take its place. None: such a version is refused.

    Raises:
        NotFoundError: It has no specification, or a model that it needs has no version.
        ArtifactError: A file of a version that it needs is not the one that was registered. Where it is one
            of its own, the contender says so, and the artifact gate fails.
        DependencyError: The registry does not answer.
    """
    specification = instead if instead and version.specification is None else specification_of(version)
    needed = needed_versions(specification, version, registry)
    artifact, problem = _fetched(version, registry)
    return Contender(
        subject=str(version.ref),
        specification=specification,
        artifact=artifact,
        artifact_digest=version.artifact_digest,
        problem=problem,
        needs={role: registry.fetch(one) for role, one in needed.items()},
        data=data,
    )


def champion_beside(candidate: Contender, champion: ModelVersion, registry: ModelRegistry) -> Contender:
    """The version that serves, ready to be compared with a candidate.

    Of other models that the two need it answers with the same versions, unless it depends on its own: what
    they differ by is then theirs alone. Where it was registered without a specification, it answers by the
    candidate's.

    Raises:
        ArtifactError: A file of a version that it depends on is not the one that was registered. Where it is
            one of its own, the contender says so, and nothing is compared with it.
        DependencyError: The registry does not answer.
    """
    own = {role: registry.fetch(registry.get(ref)) for role, ref in champion.depends_on.items()}
    specification = candidate.specification if champion.specification is None else specification_of(champion)
    artifact, problem = _fetched(champion, registry)
    return Contender(
        subject=str(champion.ref),
        specification=specification,
        artifact=artifact,
        artifact_digest=champion.artifact_digest,
        problem=problem,
        needs={**candidate.needs, **own},
        data=candidate.data,
    )


def _fetched(version: ModelVersion, registry: ModelRegistry) -> tuple[Path, str]:
    """Its verified folder; or why there is none, where a file is not the one that was registered."""
    try:
        return registry.fetch(version), ""
    except ArtifactError as error:
        return _NOWHERE, str(error)


def write_attachments(version: ModelVersion, registry: ModelRegistry, folder: Path) -> None:
    """Write the evaluation files of a version to where its specification looks for them.

    Args:
        version: Which one.
        registry: Keeps them at its run.
        folder: Gets the files, under the paths that the specification names.

    Raises:
        ArtifactError: A file is not there, or is not the one that was registered.
        InvalidInputError: The specification names a path outside the folder.
    """
    for name, path in evaluation_files(specification_of(version)).items():
        content = registry.attached(version.ref, name)
        digest = version.attachments.get(name)
        if content is None or digest is None or hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactError(
                f"{version.ref}: its evaluation file {path} is missing or not the one that was registered; "
                "register the version again from its folder (erasing a person changes the file, too)"
            )
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            raise InvalidInputError("evaluation", f"{path} lies outside the model's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def evaluation_files(specification: ModelSpecification) -> dict[str, str]:
    """The files that a specification names, by the name of the attachment that keeps each."""
    rules, files = specification.evaluation, {}
    if not rules.is_function:
        files[f"{EVALUATION_STEM}{Path(rules.requests).suffix}"] = rules.requests
    if rules.training_rows is not None:
        files[f"{TRAINING_ROWS_STEM}{Path(rules.training_rows).suffix}"] = rules.training_rows
    return files
