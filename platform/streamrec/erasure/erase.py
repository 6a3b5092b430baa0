"""The erasure of a person: put on the list, removed from every store, looked for in every store again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.results import MAXIMUM_MESSAGE_CHARACTERS, Reason, Result, Verdict
from streamrec.erasure.stores import PersonalData, Trace

ERASURE_SCHEMA: Final = "streamrec.erasure.v1"

_LEFT: Final = "person_left"
_NOT_SEARCHED: Final = "not_searched"


def erase(person: str, stores: Sequence[PersonalData], record: Callable[[str], str]) -> Result:
    """Erase a person. Doing it again is harmless, and looks for the person anew.

    Args:
        person: Their id.
        stores: Everything that may hold them.
        record: Puts the person on the list that keeps them out, before anything is removed; returns their
            digest.

    Returns:
        Passed if nothing of the person is left; failed if something is; error if a store could not be
        changed or looked through. It names nobody: the person is a digest in it.

    Raises:
        StreamRecError: The person could not be put on the list; nothing was removed.
    """
    digest = record(person)
    removed: dict[str, int] = {}
    problems: list[Reason] = []
    for store in stores:
        try:
            removed[store.name] = store.remove(person)
        except StreamRecError as error:
            problems.append(_reason(_NOT_SEARCHED, store.name, f"nothing more could be removed: {error}"))
    return _result(person, digest, stores, removed, problems)


def check(person: str, stores: Sequence[PersonalData], digest_of: Callable[[str], str | None]) -> Result:
    """Look for a person everywhere and change nothing; as `erase` otherwise.

    Args:
        person: Their id.
        stores: Everything that may hold them.
        digest_of: Their digest, or None if they are not on the list.
    """
    digest = digest_of(person)
    problems = []
    if digest is None:
        message = "the person is not on the list of those who were erased: what comes in is kept"
        problems.append(_reason("not_erased", "", message))
    return _result(person, digest, stores, {}, problems)


def _result(
    person: str,
    digest: str | None,
    stores: Sequence[PersonalData],
    removed: dict[str, int],
    problems: list[Reason],
) -> Result:
    left: dict[str, list[Trace]] = {}
    for store in stores:
        try:
            left[store.name] = store.find(person)
        except StreamRecError as error:
            problems.append(_reason(_NOT_SEARCHED, store.name, f"could not be looked through: {error}"))
    reasons = [
        _reason(_LEFT, name, f"{trace.records} records of the person are left in {trace.place}")
        for name, traces in left.items()
        for trace in traces
    ]
    verdict = Verdict.PASSED
    if any(problem.code == _NOT_SEARCHED for problem in problems):
        verdict = Verdict.ERROR
    elif reasons or problems:
        verdict = Verdict.FAILED
    return Result(
        ERASURE_SCHEMA,
        verdict,
        (*problems, *reasons),
        {
            "person": digest,
            "stores": [
                {
                    "name": store.name,
                    "removed": removed.get(store.name, 0),
                    "left": sum(trace.records for trace in left.get(store.name, ())),
                }
                for store in stores
            ],
        },
    )


def _reason(code: str, path: str, message: str) -> Reason:
    line = "".join(character if character.isprintable() else " " for character in message)
    return Reason(code, path, line[:MAXIMUM_MESSAGE_CHARACTERS])
