"""Which metrics there are: the platform's own, and those that spokes and a workspace add."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import DependencyError, InvalidInputError, NotFoundError
from streamrec.contracts.json_documents import document_json, json_schema, read_document
from streamrec.contracts.metrics.definitions import Dimension, MetricDefinition, MetricsFile
from streamrec.contracts.slots import validate_slot_name
from streamrec.contracts.specification.safe_yaml import parse_yaml

FILE_NAME: Final = "metrics.yaml"
MAXIMUM_BYTES: Final = 1024 * 1024

_UNKNOWN_FIELD: Final = "is not a field of this document"
_EXPERIMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name.

    Attributes:
        name: What it is called everywhere.
        definition: What it means.
    """

    name: str
    definition: MetricDefinition

    @property
    def digest(self) -> str:
        """SHA-256 of name and definition, hexadecimal: a figure under another digest is another figure."""
        document = {"name": self.name, "definition": document_json(self.definition)}
        return hashlib.sha256(canonical_json(document)).hexdigest()


class MetricCatalogue:
    """Metrics and dimensions by name. Immutable."""

    def __init__(self, files: Mapping[str, MetricsFile]) -> None:
        """Put files together.

        Args:
            files: By where each lies, for messages.

        Raises:
            InvalidInputError: A name is defined twice.
        """
        metrics: dict[str, Metric] = {}
        dimensions: dict[str, Dimension] = {}
        places: dict[str, str] = {}
        for place, file in files.items():
            for name, definition in file.metrics.items():
                _refuse_second(places, f"metrics.{name}", place)
                metrics[name] = Metric(name, definition)
            for name, dimension in file.dimensions.items():
                _refuse_second(places, f"dimensions.{name}", place)
                dimensions[name] = dimension
        self._metrics: Mapping[str, Metric] = MappingProxyType(dict(sorted(metrics.items())))
        self._dimensions: Mapping[str, Dimension] = MappingProxyType(dict(sorted(dimensions.items())))

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    @property
    def dimensions(self) -> Mapping[str, Dimension]:
        """All dimensions, by name."""
        return self._dimensions

    def metric(self, name: str) -> Metric:
        """Return a metric.

        Raises:
            NotFoundError: There is none of that name; says which one may be meant.
        """
        found = self._metrics.get(name)
        if found is None:
            raise NotFoundError(
                f"there is no metric {name!r}{_meant(name, self._metrics)}; 'streamrec metrics list' "
                "shows all of them"
            )
        return found

    def dimension(self, name: str) -> Dimension:
        """Return a dimension; ``version:SLOT`` is that of one slot, ``variant:EXPERIMENT`` of one experiment.

        Raises:
            InvalidInputError: There is none of that name; says which one may be meant.
        """
        base, _, part = name.partition(":")
        found = self._dimensions.get(base)
        if found is None or (part and base not in ("version", "variant")):
            known = ", ".join(self._dimensions)
            raise InvalidInputError(
                "by", f"there is no dimension {name!r}{_meant(name, self._dimensions)}; there are {known}"
            )
        if not part:
            if base == "variant":
                raise InvalidInputError("by", "a variant is one of an experiment: variant:EXPERIMENT")
            return found
        if base == "version":
            return replace(found, field=f"versions.{validate_slot_name(part)}")
        if not _EXPERIMENT.fullmatch(part):
            raise InvalidInputError("by", f"{part!r} is no name of an experiment")
        return replace(found, field=f"variants.{part}")


def platform_catalogue() -> MetricCatalogue:
    """The metrics that come with the platform."""
    return load_catalogue(())


def load_catalogue(paths: Iterable[Path]) -> MetricCatalogue:
    """The platform's metrics and those of further files.

    Args:
        paths: One that is not there holds nothing.

    Raises:
        InvalidInputError: A file is not YAML of plain values, something in it is missing, unknown or wrong,
            or it defines what is defined already; ``field`` is the file and the dotted path in it, the
            message says what to do.
        DependencyError: One cannot be read.
    """
    files = {"the platform": _packaged()}
    for path in paths:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DependencyError(f"{path} cannot be read: {error}") from error
        try:
            files[str(path)] = parse_metrics(content)
            MetricCatalogue(files)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error.field}", error.problem) from error
    return MetricCatalogue(files)


def parse_metrics(content: bytes) -> MetricsFile:
    """Read a `metrics.yaml`.

    Raises:
        InvalidInputError: As in `load_catalogue`.
    """
    document = parse_yaml(content, maximum_bytes=MAXIMUM_BYTES)
    try:
        # Every entry by itself first: what an entry refuses about itself is then named by its whole path.
        for part, kind in (("dimensions", Dimension), ("metrics", MetricDefinition)):
            entries = document.get(part)
            for name, entry in entries.items() if isinstance(entries, Mapping) else ():
                read_document(kind, entry, path=f"{part}.{name}")
        return read_document(MetricsFile, document)
    except InvalidInputError as error:
        raise InvalidInputError(error.field, error.problem + _remedy(error)) from error


@lru_cache(maxsize=1)
def _packaged() -> MetricsFile:
    return parse_metrics(resources.files("streamrec.metrics").joinpath(FILE_NAME).read_bytes())


def _refuse_second(places: dict[str, str], path: str, place: str) -> None:
    known = places.setdefault(path, place)
    if known is not place:
        raise InvalidInputError(
            path,
            f"{known} defines it already; what a name means must not depend on the reader: choose another "
            "name",
        )


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""


def _remedy(error: InvalidInputError) -> str:
    if error.problem != _UNKNOWN_FIELD:
        return ""
    close = get_close_matches(error.field.rpartition(".")[2], _field_names(), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; leave it out"


@lru_cache(maxsize=1)
def _field_names() -> tuple[str, ...]:
    schema = json_schema(MetricsFile)
    parts = (schema, *schema.get("$defs", {}).values())
    return tuple(sorted({name for part in parts for name in part.get("properties", {})}))
