"""Where versions stand, in words, wherever they show; and what the registry says that nothing bears out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import ArtifactError, NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef
from streamrec.governance.eligibility import Standing, eligibility
from streamrec.governance.records import Recorded
from streamrec.governance.remediations import open_first, remediations_of
from streamrec.registry.signed_verdicts import SignedVerdicts, document_sha256

if TYPE_CHECKING:
    from streamrec.contracts.governance.model_verdict import ModelVerdict
    from streamrec.registry.model_registry import ModelVersion

_SIGNED = frozenset(
    {Standing.ELIGIBLE, Standing.AWAITING_REVIEW, Standing.BREAK_GLASS, Standing.OVERRIDE_ENDED}
)
"""A verdict document belongs to each of these."""


@dataclass(frozen=True, slots=True)
class VerdictProblem:
    """What is wrong with the verdict over a version.

    Attributes:
        word: For a table.
        line: All of it.
    """

    word: str
    line: str


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
        return self._words(ref, self.problem_of(ref))

    def words(self, version: ModelVersion) -> tuple[str, ...]:
        """As `words_of`; and whether the verdict is over exactly what is registered."""
        return self._words(version.ref, self.problem(version))

    def problem_of(self, ref: ModelRef) -> VerdictProblem | None:
        """What is wrong with the verdict by which replicas judge, next to what the ledger says."""
        return self._problem(ref, lambda: self.verdicts.get(ref))

    def problem(self, version: ModelVersion) -> VerdictProblem | None:
        """As `problem_of`, for exactly what is registered."""
        return self._problem(version.ref, lambda: self.verdicts.check(version))

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

    def _words(self, ref: ModelRef, problem: VerdictProblem | None) -> tuple[str, ...]:
        found = eligibility(ref, self.records, self.now)
        marks = (mark for mark in found.marks if mark != found.standing)
        return (found.standing.value, *marks, *(() if problem is None else (problem.word,)))

    def _problem(self, ref: ModelRef, read: Callable[[], ModelVerdict]) -> VerdictProblem | None:
        found = eligibility(ref, self.records, self.now)
        if found.standing is Standing.REVOKED:
            return self._put_back(ref)
        try:
            verdict = read()
        except (ArtifactError, NotFoundError) as error:
            if found.standing in _SIGNED:
                return VerdictProblem("refused by replicas", f"replicas refuse {ref}: {error}")
            return None
        signed = next((one for one in self.records if one.entry.seq == found.verdict_number), None)
        if signed is not None and signed.evidence["document_sha256"] == document_sha256(verdict):
            return None
        return VerdictProblem(
            "verdict unknown to the ledger",
            f"DRIFT: replicas read a verdict over {ref} that is not the one in the ledger: a copy of an "
            "older one, or somebody has the signing key",
        )

    def _put_back(self, ref: ModelRef) -> VerdictProblem | None:
        """Of a revoked version."""
        try:
            verdict = self.verdicts.get(ref)
        except (ArtifactError, NotFoundError):
            return None
        if verdict.revoked is not None:
            return None
        return VerdictProblem(
            "verdict put back",
            f"DRIFT: the verdict over {ref} was revoked, and an old copy of it was put back; replicas refuse "
            f"it. Revoke it again: streamrec models revoke {ref} --reason ...",
        )


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
