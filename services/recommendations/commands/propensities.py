"""`streamrec recommendations propensities`: how likely it was that a logged slate was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamrec.command_line.event_options import SinceOption, UntilOption, time_range
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption


def propensities(
    since: SinceOption = None,
    until: UntilOption = None,
    draws: Annotated[
        int, typer.Option("--draws", min=1, max=10_000, help="Further slates for each that was drawn.")
    ] = 99,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000_000, help="Most impressions, the newest.")
    ] = 200,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the propensities here.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Draw logged slates again, say whether they are equal, and estimate the chance of each item."""
    from services.recommendations.contracts.impression_extension import EXTENSION_SCHEMA
    from services.recommendations.exposure_control.price_files import open_price_publisher
    from services.recommendations.jobs.propensities import log_propensities
    from services.recommendations.pipeline.logged_versions import LoggedVersions
    from streamrec.command_line.composition import open_feature_store, open_registry
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.events import PropensityKind
    from streamrec.events.reader import FileEventReader
    from streamrec.events.records import RecordKind
    from streamrec.items.follower import read_history

    place = Workspace(workspace)
    log = FileEventReader(place.events).snapshot(time_range(since, until), kinds=(RecordKind.IMPRESSION,))
    own = [shown for shown in log.impressions if (shown.extension or {}).get("schema") == EXTENSION_SCHEMA]
    newest = sorted(own, key=lambda shown: shown.predicted_at)[-limit:]
    versions = LoggedVersions(
        open_registry(place),
        open_feature_store(place).item_table(),
        read_history(place.items),
        open_price_publisher(place.exposure_prices, place.keys).published,
    )
    console = stdout_console()
    with shown_progress(console) as progress:
        found = log_propensities(versions, newest, draws=draws, progress=progress)
    rows = [(kind.value, f"{found.count(kind):,}") for kind in PropensityKind]
    rows += [(f"  for want of {why}", f"{count:,}") for why, count in sorted(found.unknown.items())]
    console.print(table(f"Propensities of {len(newest):,} of {len(own):,} slates", ("kind", "slates"), rows))
    finish(found.result(), json_file)
