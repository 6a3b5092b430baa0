"""Model cards: what a version is for, how good it is and for whom, what it cost, and its limits.

After Mitchell et al. 2019, "Model cards for model reporting", sec. 4: details, intended use, factors, metrics
with intervals by group, data, caveats. Pure: the same facts give the same text, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.intervals import Interval
from streamrec.training.evaluation import MINIMUM_GROUP_COUNT, GroupEvaluation, ModelEvaluation
from streamrec.training.training_cost import TrainingCost

CARD_TEXT_FILE: Final = "model_card.md"
CARD_DATA_FILE: Final = "model_card.json"
"""Both lie in the artifact, under its manifest."""

MAXIMUM_ROWS: Final = 40
"""Groups of one table that are written; the largest ones. The card says how many are left out."""

_FORMAT: Final = 1
_MAXIMUM_CELL_CHARACTERS: Final = 80

Figure = Interval | float | None


@dataclass(frozen=True)
class FigureRow:
    """Figures of one group, or of everybody.

    Attributes:
        group: Its name.
        count: Users (or whatever the table counts) in it; None where the figures say for themselves.
        figures: By column; None where there is no figure.
    """

    group: str
    count: int | None
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class FigureTable:
    """Figures by group.

    Attributes:
        title: Heading; says what the groups are.
        rows: In the order to be shown.
        note: How the figures were measured.
        too_small_count: Groups left out because they have fewer than `MINIMUM_GROUP_COUNT` members.
    """

    title: str
    rows: tuple[FigureRow, ...]
    note: str = ""
    too_small_count: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the figures, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.figures))


@dataclass(frozen=True)
class CallLatency:
    """How long one call takes on one core, measured after training.

    Attributes:
        call: What one call does.
        count: Calls that were timed.
        median_ms, p99_ms: Percentiles of their processor time: the elapsed time on an idle core.
    """

    call: str
    count: int
    median_ms: float
    p99_ms: float


@dataclass(frozen=True)
class TrainingData:
    """What a model was trained on.

    Attributes:
        fingerprint: SHA-256 of the data folder.
        user_count, item_count, interaction_count: Sizes of the whole folder.
        split: Which part trained, which chose and which measured.
    """

    fingerprint: str
    user_count: int
    item_count: int
    interaction_count: int
    split: str


@dataclass(frozen=True)
class ModelCard:
    """Everything a card says.

    Attributes:
        name: Registered name of the model.
        purpose: What it does, and where in the platform.
        data: What it was trained on.
        seed: Of every random draw in training.
        settings_fingerprint: SHA-256 of settings, seed, code and the versions below.
        settings: Training settings, for people.
        depends_on: Versions whose artifacts it needs, by role.
        tables: Figures, the overall ones first.
        limits: What it must not be used for, and what the figures do not say.
        cost: Of training.
        latencies: Of calls.
    """

    name: str
    purpose: str
    data: TrainingData
    seed: int
    settings_fingerprint: str
    settings: Mapping[str, Any]
    tables: tuple[FigureTable, ...]
    limits: tuple[str, ...]
    cost: TrainingCost
    latencies: tuple[CallLatency, ...]
    depends_on: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def identity(self) -> str:
        """Names the recipe whatever number the registry gives it: no measured time or memory enters."""
        parts = (self.name, self.data.fingerprint, self.settings_fingerprint)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def group_table(title: str, groups: Iterable[GroupEvaluation], note: str = "") -> FigureTable:
    """Groups of an evaluation as a table: those that are too small are counted and not shown."""
    groups = tuple(groups)
    rows = tuple(
        FigureRow(group.group, group.count, group.metrics) for group in groups if group.metrics is not None
    )
    return FigureTable(title, rows, note, too_small_count=len(groups) - len(rows))


def evaluation_tables(
    evaluation: ModelEvaluation, references: Mapping[str, ModelEvaluation] = MappingProxyType({})
) -> tuple[FigureTable, ...]:
    """All tables of one model's evaluation; ``references`` stand beside it in the overall one, by name."""
    rows = [FigureRow("this model", len(evaluation.users), evaluation.metrics)]
    rows += [FigureRow(name, len(other.users), other.metrics) for name, other in references.items()]
    note = (
        f"Leave-last-out on the {evaluation.on} items: each user's held-out item is ranked among the whole "
        "catalogue, seen items filtered. 95 % percentile bootstrap intervals over users."
    )
    tables = [
        FigureTable("All users", tuple(rows), note),
        group_table("By creator language of the held-out item", evaluation.by_creator_language),
        group_table("By number of past interactions", evaluation.by_history_length),
    ]
    tables += [
        group_table(f"By the user's {name.replace('_', ' ')}", groups)
        for name, groups in evaluation.by_user_attribute.items()
    ]
    return tuple(tables)


def card_json(card: ModelCard) -> dict[str, Any]:
    """The card as plain JSON values."""
    return {
        "format": _FORMAT,
        "name": card.name,
        "identity": card.identity,
        "purpose": card.purpose,
        "data": {
            "fingerprint": card.data.fingerprint,
            "users": card.data.user_count,
            "items": card.data.item_count,
            "interactions": card.data.interaction_count,
            "split": card.data.split,
        },
        "seed": card.seed,
        "settings_fingerprint": card.settings_fingerprint,
        "settings": dict(card.settings),
        "depends_on": dict(card.depends_on),
        "metrics": [
            {
                "title": table.title,
                "note": table.note,
                "minimum_group_count": MINIMUM_GROUP_COUNT,
                "too_small_groups": table.too_small_count,
                "rows": [
                    {
                        "group": row.group,
                        "count": row.count,
                        "figures": {name: _figure_json(value) for name, value in row.figures.items()},
                    }
                    for row in table.rows
                ],
            }
            for table in card.tables
        ],
        "limits": list(card.limits),
        "cost_of_training": {
            "wall_s": round(card.cost.wall_s, 3),
            "cpu_s": round(card.cost.cpu_s, 3),
            "peak_memory_bytes": card.cost.peak_memory_bytes,
            "peak_since_process_start": card.cost.peak_since_start,
            "interactions": card.cost.interactions,
        },
        "latency": [
            {
                "call": latency.call,
                "count": latency.count,
                "median_ms": round(latency.median_ms, 4),
                "p99_ms": round(latency.p99_ms, 4),
            }
            for latency in card.latencies
        ],
    }


def card_markdown(card: ModelCard) -> str:
    """The card as Markdown for people; whatever comes from data is escaped."""
    parts = [
        f"# {_cell(card.name)}",
        _plain(card.purpose),
        f"Identity `{card.identity}`: the same for every version made from the same data, settings, seed and "
        "code.",
        "## Limits: what it must not be used for, and what its figures do not say",
        "\n".join(f"- {_plain(limit)}" for limit in card.limits),
        "## Data",
        _fact_table(
            {
                "fingerprint": f"`{_cell(card.data.fingerprint)}`",
                "users, items, interactions": f"{card.data.user_count:,}, {card.data.item_count:,}, "
                f"{card.data.interaction_count:,}",
                "split": _cell(card.data.split, limit=None),
            }
        ),
        "## Quality",
        *(_markdown_table(table) for table in card.tables if table.rows or table.too_small_count),
        "## Latency on one core, measured after training",
        _latency_table(card.latencies),
        "## Cost of training",
        _cost_table(card.cost),
        "## Settings",
        _fact_table(
            {
                "seed": str(card.seed),
                "fingerprint of settings, code and versions below": f"`{_cell(card.settings_fingerprint)}`",
                **{f"needs ({role})": _cell(ref) for role, ref in sorted(card.depends_on.items())},
            }
        ),
        "```json\n" + json.dumps(dict(card.settings), indent=2, sort_keys=True) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: FigureTable) -> str:
    shown = table.rows[:MAXIMUM_ROWS]
    lines = [f"### {_plain(table.title)}"]
    if table.note:
        lines += ["", _plain(table.note)]
    if shown:
        lines += ["", _row("", "users", *table.columns), _row("---", *["---:"] * (1 + len(table.columns)))]
        lines += [
            _row(
                _cell(row.group),
                "-" if row.count is None else f"{row.count:,}",
                *(_figure_text(row.figures.get(name)) for name in table.columns),
            )
            for row in shown
        ]
    remarks = []
    if len(table.rows) > len(shown):
        remarks.append(f"{len(table.rows) - len(shown)} more groups are in `{CARD_DATA_FILE}`.")
    if table.too_small_count:
        remarks.append(
            f"Groups with fewer than {MINIMUM_GROUP_COUNT} users, not reported: {table.too_small_count}."
        )
    if remarks:
        lines += ["", " ".join(remarks)]
    return "\n".join(lines)


def _latency_table(latencies: tuple[CallLatency, ...]) -> str:
    if not latencies:
        return "Not measured: nobody to ask for."
    rows = [
        _row(_cell(it.call, limit=None), f"{it.count:,}", f"{it.median_ms:.3f}", f"{it.p99_ms:.3f}")
        for it in latencies
    ]
    return "\n".join(
        [_row("one call", "calls", "median ms", "p99 ms"), _row("---", "---:", "---:", "---:"), *rows]
    )


def _cost_table(cost: TrainingCost) -> str:
    memory = f"{cost.peak_memory_bytes / 1024**2:,.0f} MiB"
    if cost.peak_since_start:
        memory += " (since the process started)"
    return _fact_table(
        {
            "wall-clock time": f"{cost.wall_s:,.1f} s",
            "processor time": f"{cost.cpu_s:,.1f} s",
            "peak memory of the process": memory,
            "training interactions": f"{cost.interactions:,}",
        }
    )


def _fact_table(facts: Mapping[str, str]) -> str:
    return "\n".join([_row("", ""), _row("---", "---"), *(_row(name, text) for name, text in facts.items())])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure_text(figure: Figure) -> str:
    if figure is None:
        return "-"
    if isinstance(figure, Interval):
        return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
    return f"{figure:.4g}"


def _figure_json(figure: Figure) -> Any:
    if isinstance(figure, Interval):
        return figure.to_json()
    return figure


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _cell(text: str, limit: int | None = _MAXIMUM_CELL_CHARACTERS) -> str:
    """One line that can neither end its cell nor begin a tag: names in here come from data."""
    plain = _plain(text)
    if limit is not None and len(plain) > limit:
        plain = plain[: limit - 1] + "…"
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", plain).replace("<", "&lt;") if plain else "-"
