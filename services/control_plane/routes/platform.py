"""What serves, what metrics say, and whether the control plane is well."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from services.control_plane.asking import Asking, Parts
from streamrec.contracts.json_documents import document_json
from streamrec.contracts.progress import SilentProgress
from streamrec.metrics.computation import compute, result_of

router: Final = APIRouter()

_MAXIMUM_SPLITS: Final = 8


@router.get("/healthz", tags=["health"])
def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"])
def readyz(parts: Parts) -> dict[str, str]:
    """Whether the ledger and the traffic document can be read: without them nothing can be decided."""
    parts.ledger.last()
    parts.traffic()
    return {"status": "ready"}


@router.get("/v1/traffic", tags=["traffic"])
def show_traffic(parts: Parts, asking: Asking) -> dict[str, Any]:  # noqa: ARG001 - whoever asks is known
    """Which versions answer in each slot, and whom; no slots where nothing was promoted."""
    traffic = parts.traffic()
    return {"revision": 0, "slots": {}, "prepare": []} if traffic is None else traffic.to_json()


@router.get("/v1/metrics", tags=["metrics"])
def list_metrics(parts: Parts, asking: Asking) -> dict[str, Any]:  # noqa: ARG001
    """The metrics of platform, spokes and workspace, and what they can be split by."""
    catalogue = parts.catalogue()
    return {
        "metrics": {metric.name: document_json(metric.definition) for metric in catalogue},
        "dimensions": {name: document_json(value) for name, value in catalogue.dimensions.items()},
    }


@router.get("/v1/metrics/{name}", tags=["metrics"])
def compute_metric(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    name: Annotated[str, Path(max_length=64)],
    start: Annotated[AwareDatetime, Query(alias="from", description="Answers from this time on.")],
    end: Annotated[AwareDatetime, Query(alias="to", description="Answers before this time.")],
    by: Annotated[list[str] | None, Query(max_length=_MAXIMUM_SPLITS, description="Dimensions.")] = None,
    level: Annotated[float, Query(ge=0.5, lt=1.0)] = 0.95,
) -> dict[str, Any]:
    """A metric with intervals over users, out of the event log."""
    catalogue = parts.catalogue()
    figures = compute(
        catalogue.metric(name),
        catalogue,
        parts.metrics(),
        start=start,
        end=end,
        now=parts.clock(),
        progress=SilentProgress(),
        by=by or (),
        level=level,
    )
    return result_of(figures).to_json()
