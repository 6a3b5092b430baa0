"""Which versions of other models a version answers with while it is judged."""

from __future__ import annotations

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.registry.model_registry import ModelRegistry, ModelVersion


def needed_versions(
    specification: ModelSpecification, version: ModelVersion, registry: ModelRegistry
) -> dict[str, ModelVersion]:
    """By role: what the version depends on, and of each other model that its specification names the newest
    version that was registered before it.

    Not what serves now: the same version is judged by the same evidence whenever it is judged.

    Raises:
        NotFoundError: A model that is needed has no version of before; says what to do.
    """
    found = {role: registry.get(ref) for role, ref in version.depends_on.items()}
    for role, name in specification.needs.items():
        if role in found:
            continue
        earlier = (one for one in registry.versions(name) if one.created_at <= version.created_at)
        newest = next(earlier, None)
        if newest is None:
            raise NotFoundError(
                f"{version.ref} needs a version of {name} (needs.{role}), and none was registered before it: "
                f"register {name} first, then {version.ref.name} again"
            )
        found[role] = newest
    return found
