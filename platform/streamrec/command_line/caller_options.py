"""The options of callers that commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamrec.contracts.callers import CallerLimit

RequestsOption = Annotated[
    float | None,
    typer.Option("--requests-per-s", min=0.001, max=1e6, help="Most requests a second, of each gateway."),
]
BurstOption = Annotated[
    int | None,
    typer.Option("--burst", min=1, max=1_000_000, help="Most at once after a pause; else a second's worth."),
]
InFlightOption = Annotated[
    int | None,
    typer.Option("--in-flight", min=1, max=1_000_000, help="Most under way at the same moment."),
]
CallersFileOption = Annotated[
    Path | None,
    typer.Option(
        "--callers",
        envvar="STREAMREC_CALLERS",
        dir_okay=False,
        help="The callers file; callers.json of the workspace where it is not named.",
    ),
]


def limit_of(requests_per_s: float | None, burst: int | None, in_flight: int | None) -> CallerLimit | None:
    """The limit that the options describe; None where there is none.

    Raises:
        typer.BadParameter: The rate is not finite, or there is a burst or a number under way without one.
    """
    from streamrec.contracts.callers import CallerLimit

    if requests_per_s is None:
        if burst is not None or in_flight is not None:
            raise typer.BadParameter("needs --requests-per-s", param_hint="--burst, --in-flight")
        return None
    if not math.isfinite(requests_per_s):
        raise typer.BadParameter("must be a finite number", param_hint="--requests-per-s")
    return CallerLimit(
        requests_per_s=requests_per_s,
        burst=max(1, round(requests_per_s)) if burst is None else burst,
        maximum_in_flight=in_flight,
    )
