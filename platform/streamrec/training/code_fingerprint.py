"""What code a model was trained by: the modules that its training imports, directly or through others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamrec.contracts.errors import InvalidInputError


def imported_modules(entry_modules: Iterable[str]) -> tuple[str, ...]:
    """Return every module that running ``entry_modules`` may run, sorted; only of their own and our packages.

    These are the modules themselves, what they import at any depth, inside functions too, and the packages
    that all of them lie in. Imports for type checkers alone do not count: they run nothing.

    Args:
        entry_modules: Dotted names, such as ``services.recommendations.retrieval.train``.

    Raises:
        InvalidInputError: There is no such module.
    """
    entries = tuple(entry_modules)
    graph = _import_graph(tuple(sorted({"streamrec", *(entry.partition(".")[0] for entry in entries)})))
    found: set[str] = set()
    for entry in entries:
        if entry not in graph.modules:
            raise InvalidInputError("entry_modules", f"there is no module {entry!r}")
        found |= {entry, *graph.find_upstream_modules(entry)}
    packages = {
        ".".join(parts[:depth])
        for parts in (name.split(".") for name in found)
        for depth in range(1, len(parts))
    }
    return tuple(sorted(found | packages))


def module_source(module: str) -> str:
    """Return the source text of a module as it lies on the disk; the module is not imported."""
    root, *inner = module.split(".")
    path = _package_folder(root).joinpath(*inner)
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def code_fingerprint(
    entry_modules: Iterable[str],
    *,
    besides: Iterable[str] = (),
    read_source: Callable[[str], str] = module_source,
) -> str:
    """Return the SHA-256 of the source of `imported_modules`: other code, another fingerprint.

    Args:
        entry_modules: Where the training begins.
        besides: Modules whose own source counts, but not what they import.
        read_source: Returns the source of a module.

    Raises:
        InvalidInputError: There is no such module.
    """
    digest = hashlib.sha256()
    for module in sorted({*imported_modules(entry_modules), *besides}):
        source = read_source(module).encode()
        # The length keeps the end of one source from passing for the beginning of the next.
        digest.update(f"{module} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


@cache
def _import_graph(packages: tuple[str, ...]) -> Any:
    """Who imports whom; reads the sources of ``packages`` once for a process, within a tenth of a second."""
    import grimp

    return grimp.build_graph(
        *packages,
        exclude_type_checking_imports=True,
        cache_dir=None,  # the default writes into the folder that the command was started in
    )


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInputError("module", f"there is no package {package!r}")
    return Path(next(iter(spec.submodule_search_locations)))
