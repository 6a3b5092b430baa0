"""JSON Schemas of the shared formats; ``python -m streamrec.contracts.json_schemas FOLDER`` writes them.

`DOCUMENTS` is the one list of them. The schemas are made from the dataclasses that read the documents, so
they say what is accepted and cannot drift from it. ``--check`` fails where a file in the folder is not the
one that would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.callers import Callers
from streamrec.contracts.events import Exposure, Impression, Label, Outcome, Prediction
from streamrec.contracts.governance.model_verdict import ModelVerdict
from streamrec.contracts.governance.revoked_verdicts import RevokedVerdicts
from streamrec.contracts.governance.staff import Staff
from streamrec.contracts.intervals import Interval
from streamrec.contracts.items import ItemChange
from streamrec.contracts.json_documents import json_schema
from streamrec.contracts.ledger_entry import LedgerAnchor, LedgerEntry
from streamrec.contracts.metrics.definitions import MetricsFile
from streamrec.contracts.results import Envelope
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.contracts.rollouts.tallies import ServedTally
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.traffic import ReplicaHeartbeat, Traffic

COMMAND: Final = "make schemas"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class DocumentSchema:
    """One format.

    Attributes:
        name: Of the file, without ``.json``.
        title: What the document is, for people.
        kind: The type that reads it.
        by_people: People write it, and leave out what has a default.
    """

    name: str
    title: str
    kind: Any
    by_people: bool = False


DOCUMENTS: Final = (
    DocumentSchema("callers", "Which callers a service lets in, and how much of each", Callers),
    DocumentSchema("exposure", "A unit met an experiment's variant", Exposure),
    DocumentSchema("impression", "What a user was shown, and by which versions", Impression),
    DocumentSchema("interval", "An estimate between its confidence bounds", Interval),
    DocumentSchema("item_change", "An entry of the item log: an item was put or removed", ItemChange),
    DocumentSchema("label", "A truth that arrives later", Label),
    DocumentSchema("ledger_anchor", "How a ledger ended once, before it is signed", LedgerAnchor),
    DocumentSchema("ledger_entry", "An entry of the decision ledger", LedgerEntry),
    DocumentSchema("metrics", "Business metrics: metrics.yaml", MetricsFile, by_people=True),
    DocumentSchema(
        "model_specification", "What a model is for, and how it is judged", ModelSpecification, by_people=True
    ),
    DocumentSchema("model_verdict", "By what a version may serve, before it is signed", ModelVerdict),
    DocumentSchema("outcome", "What a unit did, or what happened to it", Outcome),
    DocumentSchema("prediction", "What a model answered", Prediction),
    DocumentSchema("replica_heartbeat", "Which versions a replica has loaded", ReplicaHeartbeat),
    DocumentSchema("result", "A verdict with its reasons; each command adds its own fields", Envelope),
    DocumentSchema(
        "revoked_verdicts", "Which verdicts count no longer, before it is signed", RevokedVerdicts
    ),
    DocumentSchema("rollout", "Where a rollout stands", RolloutState),
    DocumentSchema("rollout_evidence", "What a rollout was decided by", RolloutEvidence),
    DocumentSchema("served_tally", "What one process has answered, and how", ServedTally),
    DocumentSchema("staff", "Who may decide what on the platform", Staff),
    DocumentSchema("traffic", "Which versions answer in each slot, before it is signed", Traffic),
)
"""Every shared format. Add a document here and run `make schemas`."""


def schema_texts() -> dict[str, str]:
    """Content of every schema file, by file name."""
    return {
        f"{document.name}.json": json.dumps(
            {
                "$schema": _DIALECT,
                **json_schema(document.kind, by_people=document.by_people),
                "title": document.title,
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for document in DOCUMENTS
    }


def write_schemas(folder: Path) -> None:
    """Write every schema; a file of a format that is no longer in `DOCUMENTS` is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = schema_texts()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.json"):
        if path.name not in texts:
            path.unlink()


def stale_schemas(folder: Path) -> list[str]:
    """One line for each file that is missing, stale or of no format."""
    texts = schema_texts()
    lines = []
    for name, text in texts.items():
        path = folder / name
        if not path.is_file():
            lines.append(f"{path} is missing; run '{COMMAND}'")
        elif path.read_text(encoding="utf-8") != text:
            lines.append(f"{path} is stale; run '{COMMAND}'")
    lines += [
        f"{path} is the schema of no format; run '{COMMAND}'"
        for path in sorted(folder.glob("*.json"))
        if path.name not in texts
    ]
    return lines


def main(arguments: list[str]) -> int:
    """Write the schemas, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m streamrec.contracts.json_schemas", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the schema files")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    options = parser.parse_args(arguments)
    if not options.check:
        write_schemas(options.folder)
        return 0
    stale = stale_schemas(options.folder)
    sys.stderr.writelines(f"{line}\n" for line in stale)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
