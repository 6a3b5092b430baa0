"""The propensities of a log: what is known stays, what was drawn is drawn again and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.recommendations.pipeline.logged_versions import LoggedVersions, ServedUnder, in_groups
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.redraw import SlateDiffersError, drawn_propensity
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.events import UNKNOWN_PROPENSITY, Impression, Propensity, PropensityKind
from streamrec.contracts.progress import Progress
from streamrec.contracts.results import MAXIMUM_REASONS, Reason, Result, Verdict

SCHEMA: Final = "streamrec.propensities.v1"


@dataclass(frozen=True)
class LogPropensities:
    """What is known of the chances of logged slates.

    Attributes:
        known: By request id, for every impression that was looked at.
        unknown: Number of impressions without a number, by why: the field that stands in the way.
        differing: What came out otherwise when a slate was drawn again, by request id.
    """

    known: Mapping[str, Propensity]
    unknown: Mapping[str, int]
    differing: Mapping[str, str]

    def count(self, kind: PropensityKind) -> int:
        """Impressions of one kind."""
        return sum(propensity.kind is kind for propensity in self.known.values())

    def result(self) -> Result:
        """Failed where a slate that can be drawn again differs, inconclusive where none could be drawn."""
        drawn = self.count(PropensityKind.MONTE_CARLO)
        reasons = tuple(
            Reason("slate_differs", request_id, message)
            for request_id, message in list(self.differing.items())[:MAXIMUM_REASONS]
        )
        verdict = Verdict.FAILED if reasons else Verdict.PASSED
        if not drawn and not reasons:
            verdict = Verdict.INCONCLUSIVE
            reasons = (Reason("nothing_drawn", "", "no logged slate could be drawn again"),)
        return Result(SCHEMA, verdict, reasons, self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "impressions": len(self.known),
            "by_kind": {kind.value: self.count(kind) for kind in PropensityKind},
            "unknown_because_of": dict(self.unknown),
            "propensities": {
                request_id: {"kind": one.kind.value, "values": one.values, "draws": one.draws}
                for request_id, one in self.known.items()
            },
        }


def log_propensities(
    versions: LoggedVersions, impressions: Sequence[Impression], *, draws: int, progress: Progress
) -> LogPropensities:
    """Estimate what the log left unknown. Nothing is written: a log is not changed.

    Args:
        versions: Makes the pipelines that the slates came from.
        impressions: Of this spoke, at most one a request.
        draws: Further slates for each that was drawn.
        progress: Where progress is shown.

    Raises:
        ArtifactError: A version that served is damaged.
        DependencyError: The registry did not answer.
    """
    known = {shown.request_id: shown.propensity for shown in impressions}
    unknown: Counter[str] = Counter()
    differing: dict[str, str] = {}
    open_ones = [shown for shown in impressions if shown.propensity.kind is PropensityKind.UNKNOWN]
    progress.start("propensities: drawing slates again", len(open_ones))
    for served, group in in_groups(open_ones).items():
        pipeline = _pipeline(versions, served)
        for shown in group:
            known[shown.request_id] = UNKNOWN_PROPENSITY
            if isinstance(pipeline, str):
                unknown[pipeline] += 1
            else:
                try:
                    known[shown.request_id] = drawn_propensity(pipeline, shown, draws)
                except SlateDiffersError as error:
                    unknown["differs"] += 1
                    differing[shown.request_id] = str(error)
                except InvalidInputError as error:
                    unknown[error.field] += 1
            progress.advance()
    progress.finish()
    return LogPropensities(known, dict(unknown), differing)


def _pipeline(versions: LoggedVersions, served: ServedUnder) -> OfflinePipeline | str:
    """The pipeline, or what of it the workspace no longer has."""
    try:
        return versions.pipeline(served)
    except NotFoundError:
        return "versions_or_prices"
    except InvalidInputError as error:
        return error.field
