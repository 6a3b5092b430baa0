"""Where versions stand, in words, wherever they show; and what the registry says that nothing bears out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import ArtifactError, NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef
from streamrec.governance.eligibility import Standing, eligibility
from streamrec.governance.records import Recorded
from streamrec.governance.remediations import open_first, remediations_of
from streamrec.registry.signed_verdicts import SignedVerdicts

if TYPE_CHECKING:
    from streamrec.registry.model_registry import ModelVersion

_SIGNED = frozenset(
    {Standing.ELIGIBLE, Standing.AWAITING_REVIEW, Standing.BREAK_GLASS, Standing.OVERRIDE_ENDED}
)
"""A verdict document belongs to each of these."""


@dataclass(frozen=True)
class Standings:
    """What ledger and verdicts say.

    Attributes:
        records: Of all versions, oldest first.
        verdicts: The signed verdicts.
        champions: What serves, by slot.
        now: The moment of it.
    """

    records: Sequence[Recorded]
    verdicts: SignedVerdicts
    champions: Mapping[str, ModelRef]
    now: datetime

    def words_of(self, ref: ModelRef) -> tuple[str, ...]:
        """Where a version stands, and what has to be shown with it."""
        found = eligibility(ref, self.records, self.now)
        words = (found.standing.value, *(mark for mark in found.marks if mark != found.standing))
        return (*words, *self._verdict_problem(ref, found.standing))

    def words(self, version: ModelVersion) -> tuple[str, ...]:
        """As `words_of`; and whether the verdict is over exactly the registered files."""
        try:
            self.verdicts.check(version)
        except (ArtifactError, NotFoundError) as error:
            words = self.words_of(version.ref)
            known = any(word.startswith("refused by replicas") for word in words)
            if known or eligibility(version.ref, self.records, self.now).standing not in _SIGNED:
                return words
            return (*words, f"refused by replicas: {error}")
        return self.words_of(version.ref)

    def overdue(self) -> Iterator[str]:
        """One line for each remediation plan that is past its due date."""
        for plan in open_first(remediations_of(self.records), self.now):
            if plan.overdue(self.now):
                yield (
                    f"OVERDUE since {plan.due:%Y-%m-%d}: remediation {plan.number} of {plan.model}, "
                    f"owner {plan.owner}: {plan.what}"
                )

    def drift(self, versions: Iterable[ModelVersion]) -> Iterator[str]:
        """One line for each alias of the registry that says otherwise than the traffic document."""
        serving = set(self.champions.values())
        for version in versions:
            aliased = CHAMPION in version.aliases
            if aliased and version.ref not in serving:
                yield (
                    f"DRIFT: the registry calls {version.ref} champion, and the traffic document does not: "
                    "somebody moved the alias by hand; it serves nothing"
                )
            elif version.ref in serving and not aliased:
                yield f"DRIFT: {version.ref} serves, and the registry does not call it champion"

    def _verdict_problem(self, ref: ModelRef, standing: Standing) -> tuple[str, ...]:
        if standing not in _SIGNED:
            return ()
        try:
            self.verdicts.get(ref)
        except (ArtifactError, NotFoundError) as error:
            return (f"refused by replicas: {error}",)
        return ()


def read_standings(workspace: Workspace) -> Standings:
    """Read the workspace's ledger, verdicts and traffic; looking makes none of them.

    Raises:
        ArtifactError, DocumentRefusedError, TemporaryError: One of them is damaged, or cannot be read.
    """
    from streamrec.command_line import composition
    from streamrec.command_line.ledger_parts import has_ledger
    from streamrec.governance.records import read_records

    files = composition.traffic_files(workspace)
    return Standings(
        read_records(composition.open_ledger(workspace)) if has_ledger(workspace) else (),
        SignedVerdicts(files.versions, files.public_keys),
        composition.champion_versions(workspace),
        datetime.now(UTC),
    )
