from __future__ import annotations

import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.governance.revoked_verdicts import RevokedVerdicts
from streamrec.documents.key_folder import KeyFolder
from streamrec.registry.revocations import (
    Revocations,
    publish_revocations,
    published_revocations,
    revocations_path,
)

A, B = "a" * 64, "b" * 64


@pytest.fixture
def opened(tmp_path):
    """Publishes, and opens what a replica asks."""
    folder, keys = tmp_path / "versions", tmp_path / "keys"
    public = KeyFolder(keys).public_folder

    class Opened:
        path = revocations_path(folder)
        publish = staticmethod(lambda *digests: publish_revocations(folder, keys, digests))
        published = staticmethod(lambda: published_revocations(folder, keys))
        replica = staticmethod(lambda kept=None: Revocations(folder, public, kept))

    return Opened


def test_what_is_published_is_known_and_nothing_is_known_before(opened):
    replica = opened.replica()
    with pytest.raises(ArtifactError, match="nobody can tell"):
        replica.has(A)
    assert opened.published() is None
    opened.publish()
    assert not replica.has(A)
    opened.publish(B, A, B)
    assert (replica.has(A), replica.has(B), replica.has("c" * 64)) == (True, True, False)
    assert opened.published() == {A, B}


def test_an_older_a_damaged_and_a_missing_list_leave_the_last_good_one_also_at_the_next_start(
    opened, tmp_path
):
    opened.publish()
    old = opened.path.read_bytes()
    opened.publish(A)
    kept = tmp_path / "kept.json"
    assert opened.replica(kept).has(A)
    for content in (old, b"{}", None):
        if content is None:
            opened.path.unlink()
        else:
            opened.path.write_bytes(content)
        assert opened.replica(kept).has(A)
    opened.path.write_bytes(b"{}")
    assert opened.published() is None
    opened.publish()  # replaced by a good one
    assert not opened.replica(kept).has(A)


@pytest.mark.parametrize("verdicts", [[B, A], [A, A], ["a"], ["A" * 64], [None]])
def test_a_list_is_of_digests_sorted_and_each_once(verdicts):
    document = {"schema": "streamrec.revoked_verdicts.v1", "verdicts": verdicts}
    with pytest.raises(InvalidInputError, match="verdicts"):
        RevokedVerdicts.from_json(document)
