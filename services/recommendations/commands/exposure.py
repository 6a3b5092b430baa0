"""`streamrec recommendations exposure`: who is shown, and the controller that holds it at its target."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streamrec.command_line.event_options import SinceOption, UntilOption, time_range
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from services.recommendations.exposure_control.controller import ExposureController
    from streamrec.datasets.catalogue import Catalogue

app = typer.Typer(help="Exposure of creators and languages: report it, control it.", no_args_is_help=True)


_UNSIGNED_PRICES_FILE: Final = "language_prices.json"
"""Where earlier releases published prices, which they did not sign."""


@app.command("report")
def report(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE, since: SinceOption = None, until: UntilOption = None
) -> None:
    """Show how what was served spreads over creator languages and over creators."""
    from streamrec.command_line.tables import figure_text, stdout_console, table
    from streamrec.events.reader import FileEventReader
    from streamrec.events.records import RecordKind
    from streamrec.stats.exposure import group_exposure, language_exposure

    place = Workspace(workspace)
    catalogue = _catalogue(place)
    language_of = _with_put_items(place, catalogue, "creator_language")
    creator_of = _with_put_items(place, catalogue, "creator_id")
    slates = (
        FileEventReader(place.events)
        .table(RecordKind.IMPRESSION, ["item_ids"], time_range(since, until))["item_ids"]
        .to_pylist()
    )
    languages = sorted(set(language_of.values()))
    shown = language_exposure(slates, language_of, languages)
    total = float(shown.sum())
    console = stdout_console()
    rows = [
        (name, f"{count:,.0f}", figure_text(count / total if total else None))
        for name, count in zip(languages, shown.tolist(), strict=True)
    ]
    console.print(
        table(f"Exposure by creator language, {len(slates):,} slates", ("language", "shown", "share"), rows)
    )
    summary = []
    for what, groups in (
        ("creator languages", group_exposure(slates, language_of)),
        ("creators", group_exposure(slates, creator_of)),
    ):
        figures = (groups.gini, groups.exposed_share, groups.top_decile_share)
        summary.append((what, f"{groups.groups:,}", *(figure_text(figure) for figure in figures)))
    console.print(
        table(
            "Inequality", ("over", "groups", "Gini", "share shown at all", "share of the top tenth"), summary
        )
    )


@app.command("control")
def control(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    target_gini: Annotated[
        float | None,
        typer.Option(
            "--target-gini", min=0.0, max=1.0, help="Gini to hold; default: the re-ranker's target."
        ),
    ] = None,
    interval_s: Annotated[
        float,
        typer.Option("--interval-s", min=1.0, max=86_400.0, help="Seconds between two looks at the log."),
    ] = 60.0,
    minimum_requests: Annotated[
        int, typer.Option("--minimum-requests", min=1, help="A window is decided once it holds so many.")
    ] = 2_000,
    once: Annotated[bool, typer.Option("--once", help="Decide once and end.")] = False,
) -> None:
    """Hold the exposure target: read impressions, publish prices that re-ranking replicas poll.

    Nothing waits for this command: while it does not run, the last prices stay.
    """
    from streamrec.command_line.interrupts import sigterm_interrupts
    from streamrec.command_line.locks import only_run_in
    from streamrec.command_line.tables import figure_text, stdout_console
    from streamrec.contracts.errors import TemporaryError

    place = Workspace(workspace)
    console = stdout_console()
    stop = threading.Event()
    with sigterm_interrupts(), only_run_in(place.exposure_prices.parent):
        controller = _controller(place, target_gini, minimum_requests)
        unsigned = place.exposure_prices.with_name(_UNSIGNED_PRICES_FILE)
        if unsigned.exists():
            typer.echo(
                f"{unsigned} is not signed and does not serve; prices are published again with the next "
                "decision; remove the file"
            )
        while True:
            try:
                outcome = controller.run_once()
                strength = f"strength {outcome.state.strength:.6f}"
                console.print(
                    f"{outcome.decision}: Gini {figure_text(outcome.gini)}, {strength}",
                    markup=False,
                    highlight=False,
                )
            except TemporaryError as error:
                if once:
                    raise
                console.print(f"not decided, prices stay: {error}", markup=False, highlight=False)
            if once or stop.wait(interval_s):
                return


def _catalogue(place: Workspace) -> Catalogue:
    from streamrec.command_line.composition import open_feature_store

    return open_feature_store(place).item_table().catalogue


def _with_put_items(place: Workspace, imported: Catalogue, attribute: str) -> dict[str, str]:
    """An attribute of every item that may have been shown, by id: imported, removed since, or put since.

    Args:
        place: Where the item log lies; it is read now.
        imported: The materialised catalogue.
        attribute: ``creator_language`` or ``creator_id``.
    """
    from streamrec.items.follower import read_state

    known = dict(zip(imported.item_ids, getattr(imported, f"{attribute}s"), strict=True))
    put = read_state(place.items).items
    return known | {item_id: getattr(item, attribute) for item_id, item in put.items()}


def _controller(place: Workspace, target_gini: float | None, minimum_requests: int) -> ExposureController:
    """Begin with the prices of the champion, and never press harder than its validation allows."""
    from services.recommendations.contracts.stages import RERANKING, SLOTS
    from services.recommendations.exposure_control.controller import ControlledTraffic, ExposureController
    from services.recommendations.exposure_control.price_files import open_price_publisher
    from services.recommendations.exposure_control.step import ControlSettings, initial_state
    from services.recommendations.reranking.model import DiversityReranker
    from streamrec.command_line.composition import champion_version, open_registry
    from streamrec.contracts.conventions import UNKNOWN
    from streamrec.events.reader import FileEventReader

    registry = open_registry(place)
    version = champion_version(place, registry, SLOTS[RERANKING])
    reranker = DiversityReranker.load(registry.fetch(version))
    catalogue = _catalogue(place)
    defaults = ControlSettings()
    strength = version.metrics.get("price_strength", 0.0)
    limit = max(strength, version.metrics.get("price_strength_limit", 0.0))
    settings = ControlSettings(
        target_gini=reranker.target_gini if target_gini is None else target_gini,
        minimum_requests=minimum_requests,
        maximum_strength=limit or defaults.maximum_strength,
        minimum_strength=min(defaults.minimum_strength, limit or defaults.minimum_strength),
    )
    prices = {name: reranker.exposure_prices.get(name, 0.0) for name in reranker.languages if name != UNKNOWN}
    return ExposureController(
        ControlledTraffic(
            FileEventReader(place.events),
            lambda: _with_put_items(place, catalogue, "creator_language"),
        ),
        open_price_publisher(place.exposure_prices, place.keys),
        settings,
        initial_state(prices, settings, strength),
        since=version.created_at,
    )
