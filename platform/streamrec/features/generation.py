"""Which generation of features a folder holds: the file that makes the folder a published one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from streamrec.contracts.errors import NotReadyError
from streamrec.features.settings import SQLITE, FeatureSettings

GENERATION_FILE: Final = "generation.json"

_FORMAT: Final = 2
"""Of the online rows: 2 since histories have times. Older ones cannot be added to."""


@dataclass(frozen=True)
class Generation:
    """One materialisation.

    Attributes:
        project: Feast's project. Online keys carry it, so a new generation never meets an old one's rows.
        online: The kind of online store that the rows are in, ``sqlite`` or ``redis``.
        events_until: Everything that the event log received before is in the rows; ISO 8601, UTC. None where
            no event log was read.
        format: Of the online rows.
        newest_event_at: Time of the newest event that the rows were computed from; ISO 8601, UTC. None where
            there was none, or where the materialisation did not say.
        rows_marked: Whether Redis holds `rows_marker` for as long as it holds the rows.
    """

    project: str
    online: str
    events_until: str | None = None
    format: int = _FORMAT
    newest_event_at: str | None = None
    rows_marked: bool = False


def new_generation(
    settings: FeatureSettings,
    events_until: datetime | None = None,
    newest_event_at: datetime | None = None,
    *,
    rows_marked: bool = False,
) -> Generation:
    """A generation with a name that no other has."""
    return Generation(
        f"streamrec_{uuid4().hex[:12]}",
        _kind(settings),
        _iso(events_until),
        newest_event_at=_iso(newest_event_at),
        rows_marked=rows_marked,
    )


def rows_marker(project: str) -> str:
    """The key by which a Redis that lost a generation's rows is told. It ends as their keys do."""
    return f"rows_of:{project}"


def write_generation(folder: Path, generation: Generation) -> None:
    """Write the file into a folder that is not published yet."""
    (folder / GENERATION_FILE).write_text(json.dumps(asdict(generation)) + "\n", encoding="utf-8")


def read_generation(folder: Path, settings: FeatureSettings) -> Generation:
    """Read the published generation.

    Raises:
        NotReadyError: There is none, the file is damaged, or the rows are in another online store than
            ``settings`` names.
    """
    path = folder / GENERATION_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        generation = Generation(
            str(content["project"]),
            str(content["online"]),
            content.get("events_until"),
            int(content.get("format", 1)),
            content.get("newest_event_at"),
            bool(content.get("rows_marked", False)),
        )
    except OSError as error:
        raise NotReadyError(
            f"{folder} has no features; run 'streamrec features materialize' ({error})"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotReadyError(f"{path} is damaged; run 'streamrec features materialize' ({error})") from error
    if generation.format != _FORMAT:
        raise NotReadyError(
            f"the features in {folder} were materialised by another version of the platform; "
            "run 'streamrec features materialize' again"
        )
    if generation.online != _kind(settings):
        raise NotReadyError(
            f"the features in {folder} were materialised to {generation.online}, not to {_kind(settings)}; "
            "run 'streamrec features materialize' again"
        )
    return generation


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _kind(settings: FeatureSettings) -> str:
    return SQLITE if settings.online == SQLITE else "redis"
