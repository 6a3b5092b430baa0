"""Fairness results as an Evidently report for people; the one module that knows Evidently.

Evidently computes nothing here: what is shown are the counts and intervals that were decided by.
"""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Result
from streamrec.files.durable_files import make_folder, write_atomically

_NO_TELEMETRY: Final = "DO_NOT_TRACK"
_RATES: Final = ("selection_rate", "tpr", "fpr", "fnr", "calibration", "ndcg", "exposure")


def write_fairness_report(result: Result, path: Path) -> None:
    """Write a fairness gate's result, or an audit, as HTML that needs no network.

    Args:
        result: From `streamrec.gates.fairness.judgement`.
        path: The file.

    Raises:
        InvalidInputError: The result holds no figures of groups, or the file cannot be written.
    """
    text = fairness_report(result)
    try:
        make_folder(path.parent)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be written ({error.strerror})") from error


def fairness_report(result: Result) -> str:
    """The report as HTML.

    Raises:
        InvalidInputError: The result holds no figures of groups.
    """
    content = result.content.get("evidence", result.content)
    if not isinstance(content.get("groups"), Mapping) or not isinstance(content.get("differences"), Sequence):
        raise InvalidInputError("result", "holds no figures of groups")
    # Evidently reports its use over the network unless this is set before it is imported.
    os.environ.setdefault(_NO_TELEMETRY, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Evidently about what it itself uses
        return _rendered(str(result.content.get("subject", "")), result, content)


def _rendered(subject: str, result: Result, content: Mapping[str, Any]) -> str:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
    from evidently.legacy.renderers.html_widgets import CounterData, counter, table_data

    widgets = [
        counter(
            title=_escaped(f"Fairness of {subject}"),
            counters=[
                CounterData("verdict", result.verdict.value),
                CounterData("rows", f"{content['rows']:,}"),
                CounterData("differences", str(len(content["differences"]))),
            ],
        ),
        table_data(
            title="Why",
            column_names=["what", "where", "found"],
            data=[[_escaped(part) for part in (why.code, why.path, why.message)] for why in result.reasons],
        ),
        table_data(title="Differences", column_names=_DIFFERENCE_COLUMNS, data=_difference_rows(content)),
        table_data(title="Groups", column_names=["group", "rows", *_RATES], data=_group_rows(content)),
    ]

    class ComparedGroups(SingleValueMetric):  # type: ignore[misc, unused-ignore]
        """How many groups were measured; carries the tables."""

    class _ComparedGroups(SingleValueCalculation[ComparedGroups]):  # type: ignore[misc, unused-ignore]
        def calculate(self, context: Any, current_data: Any, reference_data: Any) -> Any:
            del context, current_data, reference_data
            counted = SingleValue(
                value=len(content["groups"]), metric_value_location=None, display_name=self.display_name()
            )
            counted.widget = widgets
            return counted, None

        def display_name(self) -> str:
            return "Groups that were compared"

    rows = pd.DataFrame({"group": sorted(content["groups"]) or ["-"]})
    snapshot = Report([ComparedGroups()]).run(
        Dataset.from_pandas(rows, data_definition=DataDefinition(categorical_columns=["group"])), None
    )
    text: str = snapshot.get_html_str(as_iframe=False)
    return text


_DIFFERENCE_COLUMNS: Final = (
    "metric",
    "group",
    "against",
    "difference",
    "interval",
    "tolerance",
    "verdict",
    "rows needed",
)


def _difference_rows(content: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            found["metric"],
            _escaped(found["groups"][0]),
            _escaped(found["groups"][1]),
            _number(found["value"]),
            f"{_number(found['low'])} to {_number(found['high'])}",
            _number(found["tolerance"]),
            found["verdict"],
            "-" if found["samples_needed"] is None else f"{found['samples_needed']:,}",
        ]
        for found in content["differences"]
    ]


def _group_rows(content: Mapping[str, Any]) -> list[list[str]]:
    return [
        [_escaped(name), f"{figures['count']:,}", *(_interval(figures.get(metric)) for metric in _RATES)]
        for name, figures in content["groups"].items()
    ]


def _interval(interval: Mapping[str, Any] | None) -> str:
    if interval is None:
        return "-"
    return f"{_number(interval['value'])} ({_number(interval['low'])} to {_number(interval['high'])})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _escaped(text: str) -> str:
    """Names of groups come from data: none of them is markup."""
    return html.escape(text)
