"""What metrics of a workspace are computed from. Heavy libraries are imported when a part is asked for."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from streamrec.command_line.composition import erasure_files
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import (
    DamagedRowError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from streamrec.metrics.catalogue import MetricCatalogue
    from streamrec.metrics.computation import MetricSources

_USER: Final = "user_id"

_LOOK_AGAIN_S: Final = 0.2
"""An erasure waits two seconds for whoever follows the list before it removes anything."""


def metric_catalogue(workspace: Workspace) -> MetricCatalogue:
    """The platform's metrics, those of the installed spokes, and the workspace's own.

    Raises:
        InvalidInputError: A file is wrong; names it and the path in it.
        DependencyError: One cannot be read.
    """
    from streamrec.command_line.spoke_packages import spoke_files
    from streamrec.metrics.catalogue import FILE_NAME, load_catalogue

    return load_catalogue([*spoke_files(FILE_NAME), workspace.metrics])


def check_metric_name(workspace: Workspace, name: str | None, *, path: str) -> None:
    """Refuse a name of a metric that is not defined.

    Args:
        workspace: Whose metrics count, beside those of the platform and of spokes.
        name: Of the metric; None is fine.
        path: Dotted path of the field that names it, for the message.

    Raises:
        InvalidInputError: There is no such metric, or a file of metrics is wrong.
        DependencyError: A file of metrics cannot be read.
    """
    if name is None:
        return
    try:
        metric_catalogue(workspace).metric(name)
    except NotFoundError as error:
        raise InvalidInputError(path, str(error)) from error


def metric_sources(workspace: Workspace) -> MetricSources:
    """What the workspace's metrics are computed from."""
    from streamrec.events.reader import FileEventReader
    from streamrec.metrics.computation import MetricSources
    from streamrec.metrics.statistics_files import StatisticsFolder
    from streamrec.metrics.unit_segments import TableSegments

    return MetricSources(
        events=FileEventReader(workspace.events, remembers_segments=True),
        segments=TableSegments(partial(_user_segments, workspace), _USER),
        kept=StatisticsFolder(workspace.metric_statistics),
        is_erased=_FollowedErasures(workspace),
    )


class _FollowedErasures:
    """Whether nothing may be kept of a unit, as of now: what is asked is not older than a moment."""

    def __init__(self, workspace: Workspace) -> None:
        self._erased = erasure_files(workspace).follow()
        self._looked_s = time.monotonic()

    def __call__(self, unit: str) -> bool:
        if time.monotonic() - self._looked_s > _LOOK_AGAIN_S:
            self._erased.refresh()
            self._looked_s = time.monotonic()
        return self._erased.is_erased(unit)


def _user_segments(workspace: Workspace) -> pa.Table:
    """Read what is known of users.

    Raises:
        NotReadyError: No features were materialised.
        DamagedRowError: The table lacks a column, or holds something else in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from streamrec.datasets.dataset import SEGMENT_COLUMNS
    from streamrec.features.names import OFFLINE_FOLDER

    path = workspace.features / OFFLINE_FOLDER / "users.parquet"
    columns = [_USER, *SEGMENT_COLUMNS]
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError as error:
        raise NotReadyError(
            f"{path} is missing: segments of users are known once 'streamrec features materialize' has run"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise DamagedRowError(
            f"{path} cannot be read: {error}; run 'streamrec features materialize'"
        ) from error
    if table.column_names != columns:
        raise DamagedRowError(f"{path} lacks a column of {', '.join(columns)}; materialise it anew")
    return table
