"""A report of gates as one HTML page that works offline; every figure stands in the report for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.results import Result
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.gate_results import gate_of
from streamrec.gates.gates_report import GatesReport

_TEMPLATE_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = "report.html.j2"
_SHOWN_ROWS: Final = 40
_SHOWN_CHARACTERS: Final = 600
_SIGNIFICANT_DIGITS: Final = 4

MEANINGS: Final[Mapping[GateName, str]] = {
    GateName.ARTIFACT: "The files are the registered ones, of allowed formats, and answer the same twice.",
    GateName.VALIDATION: "What it is judged on is not what it was trained on, and comes later.",
    GateName.SKEW: "It is served the features that it was trained with.",
    GateName.QUALITY: "It is not worse than what serves by more than the margin.",
    GateName.FAIRNESS: "No group of people is treated worse than the policy tolerates.",
    GateName.LATENCY: "It answers in time and fits into memory, measured beside what serves.",
}


def render_report(report: GatesReport) -> str:
    """Render the page. All text that came from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        report=report,
        result=report.result,
        isolation=report.isolation.to_json(),
        gates=[_gate(result) for result in report.results],
        digests={name.value: digest for name, digest in report.evidence_digests.items()},
    )


def _gate(result: Result) -> dict[str, Any]:
    name = gate_of(result)
    evidence = result.content["evidence"]
    tables = [_table(key, value) for key, value in evidence.items() if _is_table(value)]
    rows = list(_rows({key: value for key, value in evidence.items() if not _is_table(value)}))
    return {
        "name": name.value,
        "meaning": MEANINGS[name],
        "verdict": result.verdict.value,
        "reasons": result.reasons,
        "rows": rows[:_SHOWN_ROWS],
        "tables": tables,
        "left_out": max(0, len(rows) - _SHOWN_ROWS) + sum(table["left_out"] for table in tables),
    }


def _is_table(value: Any) -> bool:
    """Several documents with the same fields, as a list or by name."""
    documents = _documents(value)
    return (
        len(documents) > (1 if isinstance(value, Mapping) else 0)
        and all(isinstance(document, Mapping) and not _is_interval(document) for _, document in documents)
        and len({tuple(document) for _, document in documents}) == 1
    )


def _documents(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [(str(number), document) for number, document in enumerate(value, start=1)]
    return []


def _table(title: str, value: Any) -> dict[str, Any]:
    documents = _documents(value)
    return {
        "title": title,
        "columns": ["", *documents[0][1]],
        "rows": [
            [name, *(_cell(entry) for entry in document.values())]
            for name, document in documents[:_SHOWN_ROWS]
        ],
        "left_out": max(0, len(documents) - _SHOWN_ROWS),
    }


def _cell(value: Any) -> str:
    return ", ".join(text if not path else f"{path} {text}" for path, text in _rows(value))


def _rows(evidence: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Evidence as rows of a table: the dotted path of each value, and the value as people write it."""
    if isinstance(evidence, Mapping):
        if _is_interval(evidence):
            yield path, f"{_text(evidence['value'])} ({_text(evidence['low'])} to {_text(evidence['high'])})"
            return
        for key, value in evidence.items():
            yield from _rows(value, f"{path}.{key}" if path else str(key))
    elif isinstance(evidence, Sequence) and not isinstance(evidence, str):
        if all(not isinstance(entry, Mapping | list | tuple) for entry in evidence):
            yield path, ", ".join(_text(entry) for entry in evidence)[:_SHOWN_CHARACTERS] or "none"
            return
        for number, entry in enumerate(evidence):
            yield from _rows(entry, f"{path}.{number}")
    elif evidence != "":
        yield path, _text(evidence)


def _is_interval(document: Mapping[str, Any]) -> bool:
    return {"value", "low", "high"} <= document.keys() <= {"value", "low", "high", "level", "method", "n"}


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)[:_SHOWN_CHARACTERS]
