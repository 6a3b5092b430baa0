from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from services.recommendations.gateway import event_housekeeping
from streamrec.contracts.errors import ArtifactError, DocumentRefusedError
from streamrec.erasure.erased_persons import (
    ErasedPersons,
    ErasureFiles,
    digest_on_list,
    must_not_be_kept,
    record_erasure,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def files(tmp_path):
    return ErasureFiles(
        tmp_path / "erasures" / "erasures.json", tmp_path / "erasures" / "secret", tmp_path / "keys"
    )


def test_the_command_waits_until_services_have_heard_and_only_when_there_is_something_new(files):
    waited = []
    for _ in range(2):
        record_erasure(files, "anna", sleep=waited.append)
    assert waited == [2.0]
    assert waited[0] > event_housekeeping.INTERVAL_S


def test_nobody_is_erased_where_there_is_no_list(files):
    persons = files.follow()
    assert not persons.is_erased("anna")
    assert digest_on_list(files, "anna") is None
    assert not files.document.exists()


def test_the_list_is_followed_and_names_nobody(files):
    persons = files.follow()
    digest = record_erasure(files, "anna", clock=lambda: NOW)
    record_erasure(files, "ben")

    assert persons.refresh()
    assert not persons.refresh()
    assert [persons.is_erased(name) for name in ("anna", "ben", "carla")] == [True, True, False]
    text = files.document.read_text()
    assert "anna" not in text
    assert json.loads(text)["erased"][digest] == "2026-03-01T12:00:00Z"
    assert digest_on_list(files, "anna") == digest


def test_the_same_person_twice_is_on_it_once_and_since_the_first_time(files):
    record_erasure(files, "anna", clock=lambda: NOW)
    before = files.document.read_bytes()
    record_erasure(files, "anna")
    assert files.document.read_bytes() == before


def test_the_secret_is_for_its_owner_and_another_one_gives_other_digests(files, tmp_path):
    digest = record_erasure(files, "anna")
    assert files.secret.stat().st_mode & 0o777 == 0o600
    other = ErasureFiles(tmp_path / "o" / "erasures.json", tmp_path / "o" / "secret", files.keys)
    assert record_erasure(other, "anna") != digest


def test_a_list_that_was_tampered_with_is_refused_and_the_last_good_one_stays(files):
    record_erasure(files, "anna")
    persons = files.follow()
    files.document.write_text(files.document.read_text().replace('"erased":{', '"erased":{ '))
    content = json.loads(files.document.read_text())
    content["erased"] = {}
    files.document.write_text(json.dumps(content))
    assert not persons.refresh()
    assert persons.is_erased("anna")
    with pytest.raises(DocumentRefusedError):
        record_erasure(files, "ben")


@pytest.mark.parametrize("content", [None, b"short"])
def test_without_its_secret_nothing_is_kept(files, content):
    record_erasure(files, "anna")
    files.secret.unlink()
    if content is not None:
        files.secret.write_bytes(content)
    persons = ErasedPersons(files)
    persons.refresh()
    with pytest.raises(ArtifactError):
        persons.is_erased("ben")
    assert must_not_be_kept(persons, "ben")
    with pytest.raises(ArtifactError):
        record_erasure(files, "ben")
