from __future__ import annotations

from streamrec.contracts.errors import DependencyError
from streamrec.contracts.results import Verdict
from streamrec.erasure.erase import check, erase
from streamrec.erasure.stores import Trace

DIGEST = "ab" * 16


class Store:
    def __init__(self, name, records=0, *, stays=0, broken=False):
        self.name, self.records, self.stays, self.broken = name, records, stays, broken

    def remove(self, _person):
        if self.broken:
            raise DependencyError(f"{self.name} did not answer")
        removed, self.records = self.records - self.stays, self.stays
        return removed

    def find(self, _person):
        if self.broken:
            raise DependencyError(f"{self.name} did not answer")
        return [Trace(f"{self.name}/part", self.records)] if self.records else []


def test_it_passes_when_nothing_is_left_and_a_second_run_finds_nothing():
    stores = [Store("log", 7), Store("features", 2)]
    first = erase("anna", stores, lambda _person: DIGEST)
    second = erase("anna", stores, lambda _person: DIGEST)
    assert (first.verdict, second.verdict) == (Verdict.PASSED, Verdict.PASSED)
    assert [store["removed"] for store in first.content["stores"]] == [7, 2]
    assert [store["removed"] for store in second.content["stores"]] == [0, 0]
    assert "anna" not in str(first.to_json())
    assert first.content["person"] == DIGEST


def test_what_is_left_fails_it_and_is_named():
    result = erase("anna", [Store("log", 7, stays=3)], lambda _person: DIGEST)
    assert result.verdict is Verdict.FAILED
    assert [(reason.code, reason.path) for reason in result.reasons] == [("person_left", "log")]
    assert "3 records" in result.reasons[0].message


def test_a_store_that_does_not_answer_is_no_proof_and_stops_no_other():
    stores = [Store("features", 1, broken=True), Store("log", 7)]
    result = erase("anna", stores, lambda _person: DIGEST)
    assert result.verdict is Verdict.ERROR
    assert {reason.code for reason in result.reasons} == {"not_searched"}
    assert stores[1].records == 0


def test_a_check_changes_nothing_and_says_who_was_never_erased():
    store = Store("log", 7)
    result = check("anna", [store], lambda _person: None)
    assert (result.verdict, store.records) == (Verdict.FAILED, 7)
    assert [reason.code for reason in result.reasons] == ["not_erased", "person_left"]
    assert check("anna", [Store("log")], lambda _person: DIGEST).verdict is Verdict.PASSED
