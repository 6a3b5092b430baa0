"""Case 26 of what the platform must survive: whoever goes around the commands makes nothing serve.

Every injection is done for real: through MLflow's own client, by SQL in its database, to the signed files.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line import composition
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import ArtifactError, NotFoundError, PermissionDeniedError
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.documents.key_folder import KeyFolder
from streamrec.governance.deployment import revoke
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.revocations import revocations_path
from streamrec.registry.signed_verdicts import SignedVerdicts, verdict_path
from streamrec.registry.signed_versions import SignedVersions, document_path
from streamrec.rollout.heartbeats import MemoryHeartbeats
from streamrec.serving.loaded_versions import LoadedVersions
from streamrec.serving.replica import ModelReplica
from tests.promoted import AUTHOR, deploy, desk_of, promote
from tests.unit.rollout.test_traffic_writer import SIGNATURE

# MLflow 3.17 under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SLOT = "shop.ranking"
SERVES, UNJUDGED, ELIGIBLE = (ModelRef("ranking", number) for number in (1, 2, 3))
TEACHER = ModelRef("teacher", 1)


class Shop:
    """A workspace whose registry is MLflow: the first version serves, the second nobody judged, the third is
    eligible, as is one without a slot; and a replica that has not started.
    """

    def __init__(self, folder):
        self.place = Workspace(folder)
        self.files = composition.traffic_files(self.place)
        self.registry = composition.open_registry(self.place)
        self.loads = []

    def make(self):
        artifact = self.place.root.parent / "artifact"
        artifact.mkdir()
        for number in (1, 2, 3):
            (artifact / "model.json").write_text(json.dumps(number))
            self.registry.register(ModelSpec("ranking", SIGNATURE, "d", "s", slot=SLOT), artifact)
        self.registry.register(ModelSpec("teacher", SIGNATURE, "d", "s"), artifact)
        ledger = composition.open_ledger(self.place)
        promote(self.place.root, self.registry, SERVES, ledger=ledger)
        deploy(self.desk(), [ELIGIBLE, TEACHER])

    def desk(self):
        return desk_of(self.place.root, self.registry, composition.open_ledger(self.place))

    def verdict(self, ref):
        return verdict_path(self.files.versions, ref)

    def replica(self):
        """One that starts now, and looks once."""
        versions = SignedVersions(self.files.versions, self.files.public_keys)

        class Source:
            get = staticmethod(versions.get)
            fetch = self.registry.fetch
            keep_only = self.registry.keep_only

        def load(fetched):
            self.loads.append(fetched.version.ref)
            return json.loads((fetched.folder / "model.json").read_text())

        replica = ModelReplica(
            SLOT,
            "ranking",
            LoadedVersions(Source(), load, warm_up=lambda _: None),
            self.files.open_follower(),
            MemoryHeartbeats(),
            now=lambda: datetime.now(UTC),
        )
        replica.follow()
        return replica

    def run(self, *arguments):
        command = ["models", *arguments, "--workspace", str(self.place.root)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "1000"})

    def listed(self):
        result = self.run("list")
        assert result.exit_code == 0, result.output
        return result.output

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.place.registry / "mlflow.db")) as database, database:
            assert database.execute(statement, values).rowcount == 1

    def edit_row(self, ref, change):
        """As somebody with the database's password would."""
        key = "name = 'ranking' AND version = ? AND key = 'streamrec.version'"
        with closing(sqlite3.connect(self.place.registry / "mlflow.db")) as database:
            query = f"SELECT value FROM model_version_tags WHERE {key}"
            (text,) = database.execute(query, (ref.version,)).fetchone()
        document = json.loads(text)
        change(document)
        update = f"UPDATE model_version_tags SET value = ? WHERE {key}"
        self.sql(update, json.dumps(document), ref.version)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "workspace"
    Shop(folder).make()
    return folder


@pytest.fixture
def shop(made, tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMREC_TOKEN", raising=False)
    folder = tmp_path / "workspace"
    shutil.copytree(made, folder)
    return Shop(folder)


def refused(shop, ref, why):
    """No replica loads a version, though the signed traffic would name it; not a byte of it is read."""
    shop.loads.clear()
    source = SignedVersions(shop.files.versions, shop.files.public_keys)
    with pytest.raises((ArtifactError, NotFoundError), match=why):
        source.get(ref)
    replica = shop.replica()
    assert ref not in replica.loaded
    assert ref not in shop.loads
    return replica


def test_nothing_is_wrong_before_anybody_goes_around_the_commands(shop):
    replica = shop.replica()
    assert replica.get(SERVES).model == 1
    assert shop.loads == [SERVES]
    text = shop.listed()
    assert "DRIFT" not in text
    assert "refused" not in text


def test_an_alias_that_is_moved_by_hand_serves_nothing_and_shows(shop):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{shop.place.registry.resolve() / 'mlflow.db'}")
    client.set_registered_model_alias("ranking", "champion", str(UNJUDGED.version))
    assert shop.registry.resolve("ranking").ref == UNJUDGED
    assert shop.replica().champion == SERVES
    assert shop.loads == [SERVES]
    text = shop.listed()
    assert f"DRIFT: the registry calls {UNJUDGED} champion" in text
    assert f"DRIFT: {SERVES} serves, and the registry does not call it champion" in text


def test_an_alias_that_is_moved_in_the_database_serves_nothing_and_shows(shop):
    shop.sql("UPDATE registered_model_aliases SET version = 2 WHERE name = 'ranking'")
    assert shop.replica().champion == SERVES
    assert f"DRIFT: the registry calls {UNJUDGED} champion" in shop.listed()


def test_a_row_that_names_the_files_of_another_version_is_promoted_by_nobody(shop):
    other = shop.registry.get(UNJUDGED).artifact_digest
    shop.edit_row(ELIGIBLE, lambda document: document.update(artifact_digest=other))
    assert shop.registry.get(ELIGIBLE).artifact_digest == other
    result = shop.run("promote", str(ELIGIBLE), "--reason", "it is better")
    assert result.exit_code == 2, result.output
    assert f"the verdict over {ELIGIBLE} was signed over the artifact" in result.output
    assert shop.replica().champion == SERVES
    assert shop.loads == [SERVES]
    assert f"replicas refuse {ELIGIBLE}: the verdict over {ELIGIBLE} was signed over" in shop.listed()


@pytest.mark.parametrize(
    "change",
    [
        {"depends_on": {"teacher": {"name": "teacher", "version": 1}}},
        {"slot": "shop.checkout"},
        {"metrics": {"auc": 0.99}},
    ],
    ids=["dependencies", "slot", "metrics"],
)
def test_a_row_that_says_something_else_of_the_same_files_is_promoted_by_nobody(shop, change):
    shop.edit_row(ELIGIBLE, lambda document: document.update(change))
    result = shop.run("promote", str(ELIGIBLE), "--reason", "it is better")
    assert result.exit_code == 2, result.output
    assert "somebody changed it since" in result.output
    assert not document_path(shop.files.versions, ELIGIBLE).exists()
    assert "somebody changed it since" in shop.listed()


def test_a_row_of_what_serves_changes_nothing_that_replicas_load(shop):
    other = shop.registry.get(UNJUDGED).artifact_digest
    shop.edit_row(SERVES, lambda document: document.update(artifact_digest=other))
    assert shop.replica().get(SERVES).model == 1
    assert "refused by replicas" in shop.listed()


def test_an_edited_traffic_document_is_refused_and_the_last_good_one_serves(shop):
    assert shop.replica().champion == SERVES
    content = shop.files.document.read_bytes()
    assert content.count(str(SERVES).encode()) == 1
    shop.files.document.write_bytes(content.replace(str(SERVES).encode(), str(UNJUDGED).encode()))
    replica = shop.replica()
    assert replica.champion == SERVES
    assert replica.get(SERVES).model == 1
    assert UNJUDGED not in shop.loads
    result = shop.run("list")
    assert result.exit_code == 2
    assert f"{shop.files.document}: the document was changed" in result.output


def test_an_edited_verdict_is_refused_and_shows(shop):
    path = shop.verdict(SERVES)
    content = path.read_bytes()
    assert content.count(b'"passed"') > 0
    path.write_bytes(content.replace(b'"isolation_waived":false', b'"isolation_waived":true'))
    assert path.read_bytes() != content
    replica = refused(shop, SERVES, "is refused")
    assert str(SERVES) in replica.problem
    assert "refused by replicas" in shop.listed()


def test_the_verdict_of_another_version_copied_over_allows_nothing(shop):
    shutil.copy(shop.verdict(SERVES), shop.verdict(UNJUDGED))
    shutil.copy(document_path(shop.files.versions, SERVES), document_path(shop.files.versions, UNJUDGED))
    with pytest.raises(ArtifactError, match=f"is the verdict over {SERVES}, not over {UNJUDGED}"):
        SignedVerdicts(shop.files.versions, shop.files.public_keys).get(UNJUDGED)
    refused(shop, UNJUDGED, "is the document of")
    shutil.copy(shop.verdict(ELIGIBLE), shop.verdict(SERVES))
    refused(shop, SERVES, f"is the verdict over {ELIGIBLE}, not over {SERVES}")
    assert f"replicas refuse {SERVES}: {shop.verdict(SERVES)} is the verdict over {ELIGIBLE}" in shop.listed()


def test_a_verdict_that_is_taken_away_leaves_nothing_to_load(shop):
    shop.verdict(SERVES).unlink()
    refused(shop, SERVES, f"has no verdict.*streamrec models deploy {SERVES}")
    assert "refused by replicas" in shop.listed()


def test_a_replica_that_has_a_version_loaded_goes_on_when_its_verdict_is_revoked(shop):
    replica = shop.replica()
    revoke(shop.desk(), AUTHOR, SERVES)
    assert replica.follow()
    assert replica.get(SERVES).model == 1
    refused(shop, SERVES, "was revoked by author")  # one that starts now


def test_a_revoked_verdict_loads_nothing_and_an_old_copy_put_back_shows(shop):
    old = shop.verdict(SERVES).read_bytes()
    revoke(shop.desk(), AUTHOR, SERVES)
    refused(shop, SERVES, "was revoked by author: it is better")
    assert "revoked" in shop.listed()
    with pytest.raises(PermissionDeniedError, match="it is revoked"):
        promote_again(shop, SERVES)
    shop.verdict(SERVES).write_bytes(old)
    refused(shop, SERVES, "an old copy that somebody put back")
    assert f"DRIFT: the verdict over {SERVES} was revoked" in shop.listed()
    revoke(shop.desk(), AUTHOR, SERVES)
    refused(shop, SERVES, "was revoked by author")
    assert "DRIFT: the verdict" not in shop.listed()


def test_the_list_of_what_is_revoked_is_not_got_around_by_an_old_copy_or_by_taking_it_away(shop):
    published = revocations_path(shop.files.versions)
    old_list, old_verdict = published.read_bytes(), shop.verdict(ELIGIBLE).read_bytes()
    kept = shop.files.last_good_revocations
    source = SignedVersions(shop.files.versions, shop.files.public_keys, kept_revocations=kept)
    source.get(SERVES)  # a replica that knows the list of this moment
    revoke(shop.desk(), AUTHOR, ELIGIBLE)
    source.get(SERVES)  # and that of the next
    shop.verdict(ELIGIBLE).write_bytes(old_verdict)
    version = shop.registry.get(ELIGIBLE)
    for change in (lambda: published.write_bytes(old_list), published.unlink):
        change()
        for verdicts in (
            SignedVerdicts(shop.files.versions, shop.files.public_keys, kept_revocations=kept),  # starts now
            source._verdicts,
        ):
            with pytest.raises(ArtifactError, match="an old copy that somebody put back"):
                verdicts.check(version)
    # One that knows nothing yet loads nothing, until the list is written anew.
    with pytest.raises(ArtifactError, match=r"no list of revoked verdicts.*streamrec keys sign-again"):
        SignedVerdicts(shop.files.versions, shop.files.public_keys).check(shop.registry.get(SERVES))
    keys_command(shop, "sign-again")
    SignedVerdicts(shop.files.versions, shop.files.public_keys).check(shop.registry.get(SERVES))
    refused(shop, ELIGIBLE, "never promoted")
    with pytest.raises(ArtifactError, match="an old copy that somebody put back"):
        SignedVerdicts(shop.files.versions, shop.files.public_keys).check(version)


def promote_again(shop, ref):
    shop.files.document.unlink()  # nothing serves, so that there is something to do
    composition.open_traffic_writer(shop.place).promote([ref], actor="ada")


def test_a_key_that_is_revoked_takes_its_verdicts_with_it_until_they_are_signed_again(shop):
    keys = KeyFolder(shop.place.keys)
    stolen = keys.signing_key().key_id
    keys.rotate()
    assert shop.replica().get(SERVES).model == 1  # a rotated key counts on
    keys.revoke(stolen)
    refused(shop, SERVES, "is refused")
    assert "which was revoked" in shop.run("list").output
    shop.files.document.unlink()
    assert "refused by replicas" in shop.listed()
    deploy(shop.desk(), [SERVES])
    composition.open_traffic_writer(shop.place).promote([SERVES], actor="ada")
    assert shop.replica().get(SERVES).model == 1


def keys_command(shop, *arguments):
    result = CliRunner().invoke(app, ["keys", *arguments, "--workspace", str(shop.place.root)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("revoked_first", [False, True], ids=["before", "after"])
def test_what_the_ledger_knows_is_signed_again_and_what_a_thief_signed_is_not(shop, revoked_first):
    stolen = KeyFolder(shop.place.keys).signing_key().key_id
    deploy(desk_of(shop.place.root, shop.registry, MemoryLedger()), [UNJUDGED])
    revoke(shop.desk(), AUTHOR, TEACHER)
    keys_command(shop, "rotate")
    if revoked_first:
        assert composition.open_traffic_writer(shop.place).sign_again() is not None
        keys_command(shop, "revoke", stolen, "--stop-serving")
    said = keys_command(shop, "sign-again")
    assert said.startswith("verdicts signed again: 3\n")  # what serves, what is eligible, and the revoked one
    if not revoked_first:
        keys_command(shop, "revoke", stolen)
    assert shop.replica().get(SERVES).model == 1
    verdicts = SignedVerdicts(shop.files.versions, shop.files.public_keys)
    verdicts.check(shop.registry.get(ELIGIBLE))
    with pytest.raises(ArtifactError, match="was revoked by author"):
        verdicts.check(shop.registry.get(TEACHER))
    with pytest.raises(ArtifactError, match="is refused"):
        verdicts.get(UNJUDGED)
    kinds = [entry.kind.value for entry in composition.open_ledger(shop.place).entries()]
    assert kinds[-2:] == ["key_added", "key_revoked"]


def test_a_key_that_signed_what_serves_is_not_revoked_by_mistake(shop):
    old = KeyFolder(shop.place.keys).signing_key().key_id
    keys_command(shop, "rotate")

    def revoked():
        return CliRunner().invoke(app, ["keys", "revoke", old, "--workspace", str(shop.place.root)])

    listed = revocations_path(shop.files.versions)
    paths = [shop.files.document, listed, document_path(shop.files.versions, SERVES), shop.verdict(SERVES)]
    of_old = {path: path.read_bytes() for path in paths}
    keys_command(shop, "sign-again")
    for path in paths:
        signed_again = path.read_bytes()
        path.write_bytes(of_old[path])
        refused = revoked()
        assert refused.exit_code == 2
        assert f"{old} signed what serves now ({path} and 0 more)" in refused.output
        path.write_bytes(signed_again)
    assert shop.replica().get(SERVES).model == 1
    assert revoked().exit_code == 0
    assert shop.replica().get(SERVES).model == 1


def test_a_verdict_that_was_put_back_or_is_another_is_not_signed_again(shop):
    old = shop.verdict(SERVES).read_bytes()
    revoke(shop.desk(), AUTHOR, SERVES)
    shop.verdict(SERVES).write_bytes(old)
    keys_command(shop, "rotate")
    content = shop.verdict(ELIGIBLE).read_bytes()
    shop.verdict(ELIGIBLE).write_bytes(
        content.replace(b'"isolation_waived":false', b'"isolation_waived":true')
    )
    said = keys_command(shop, "sign-again")
    assert said.startswith("verdicts signed again: 1\n")
    for ref in (SERVES, ELIGIBLE):
        assert f"the verdict over {ref} is not what the ledger says" in said
    assert shop.verdict(SERVES).read_bytes() == old


def test_what_a_stolen_key_signs_shows_since_the_ledger_knows_nothing_of_it(shop):
    # Whoever has the key, and not the ledger: the same steps, written down elsewhere.
    deploy(desk_of(shop.place.root, shop.registry, MemoryLedger()), [UNJUDGED])
    assert (
        f"DRIFT: replicas read a verdict over {UNJUDGED} that is not the one in the ledger" in shop.listed()
    )
    with pytest.raises(PermissionDeniedError, match="no gate has judged it"):
        composition.open_traffic_writer(shop.place).promote([UNJUDGED], actor="ada")
    revoke(shop.desk(), AUTHOR, UNJUDGED)
    with pytest.raises(ArtifactError, match="was revoked by author"):
        SignedVerdicts(shop.files.versions, shop.files.public_keys).check(shop.registry.get(UNJUDGED))
    assert "DRIFT" not in shop.listed()
