"""The registry on a real MLflow: cold starts, servers that are down, several processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError, PermanentError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings

# MLflow 3.17 under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("history", "int64", (-1, 50)), TensorSpec("user", "str", (-1,))),
    outputs=(TensorSpec("scores", "float32", (-1,)),),
)


def spec(name: str = "two-tower", **changes) -> ModelSpec:
    fields = {"signature": SIGNATURE, "data_fingerprint": "d", "settings_fingerprint": "s"}
    return ModelSpec(name, **(fields | changes))


@pytest.fixture
def artifact(tmp_path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    np.savez(folder / "weights.npz", table=np.arange(6, dtype=np.float32))
    return folder


def run_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


REGISTER = """
import sys
from pathlib import Path
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings

assert "mlflow" not in sys.modules, "importing the adapter must not import MLflow"
registry = MlflowModelRegistry(RegistrySettings.embedded(Path(sys.argv[1])))
assert "mlflow" not in sys.modules, "building the adapter must not import MLflow"
signature = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))
for count in range(3):
    version = registry.register(ModelSpec("two-tower", signature, "d", "s"), Path(sys.argv[2]))
    registry.set_alias(version.ref, "champion")
    assert registry.fetch(registry.resolve("two-tower")).is_dir()
    print(version.ref.version)
"""


def test_processes_that_start_at_once_share_a_new_registry_and_print_nothing_else(tmp_path, artifact):
    processes = [run_python(REGISTER, tmp_path / "registry", artifact) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(int(line) for out, _ in outputs for line in out.split()) == [1, 2, 3, 4, 5, 6]
    assert [errors for _, errors in outputs] == ["", ""]


def test_mlflow_itself_reads_the_signature_and_finds_no_flavour_that_runs_code(tmp_path, artifact):
    registry = MlflowModelRegistry(RegistrySettings.embedded(tmp_path / "registry"))
    version = registry.register(
        spec(metrics={"ndcg@10": 0.5}, parameters={"layers": [1, 2], "rate": 0.1}), artifact
    )
    from mlflow import MlflowClient
    from mlflow.models import Model

    model = Model.load(registry.fetch(version) / "MLmodel")
    assert model.signature.inputs.to_dict() == [
        {"name": "history", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": (-1, 50)}},
        {"name": "user", "type": "tensor", "tensor-spec": {"dtype": "str", "shape": (-1,)}},
    ]
    assert list(model.flavors) == ["streamrec"]
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

    uri = RegistrySettings.embedded(tmp_path / "registry").tracking_uri
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    entry = client.get_model_version("two-tower", "1")
    run = client.get_run(entry.run_id)
    assert run.data.metrics == {"ndcg_at_10": 0.5}
    assert run.data.params == {"layers": "[1, 2]", "rate": "0.1"}
    assert run.info.status == "FINISHED"
    assert entry.tags["streamrec.artifact_digest"] == version.artifact_digest


def test_a_version_made_around_the_platform_is_left_out_and_refused(tmp_path, artifact, caplog):
    settings = RegistrySettings.embedded(tmp_path / "registry")
    registry = MlflowModelRegistry(settings)
    registry.register(spec(), artifact)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)
    client.create_model_version("two-tower", source=artifact.as_uri())
    client.create_registered_model("Made by hand")

    assert list(registry.names()) == ["two-tower"]
    assert "'Made by hand' is left out of the list" in caplog.text
    assert [version.ref.version for version in registry.versions("two-tower")] == [1]
    assert "two-tower@2" in caplog.text
    with pytest.raises(ArtifactError, match="two-tower@2 was not registered through the platform"):
        registry.get(ModelRef("two-tower", 2))


def test_an_artifact_that_was_changed_in_the_store_is_refused(tmp_path, artifact):
    registry = MlflowModelRegistry(RegistrySettings.embedded(tmp_path / "registry"))
    version = registry.register(spec(), artifact)
    (stored,) = (tmp_path / "registry" / "artifacts").rglob("weights.npz")
    content = bytearray(stored.read_bytes())
    content[50] ^= 1
    stored.write_bytes(content)

    with pytest.raises(ArtifactError, match=r"weights\.npz"):
        registry.fetch(version)
    (stored.parent / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="manifest"):
        registry.fetch(version)


def test_an_unknown_type_in_a_signature_is_refused(tmp_path, artifact):
    registry = MlflowModelRegistry(RegistrySettings.embedded(tmp_path / "registry"))
    broken = ModelSignature((TensorSpec("x", "float31", (-1,)),), SIGNATURE.outputs)
    with pytest.raises(InvalidInputError, match="signature"):
        registry.register(spec(signature=broken), artifact)


@pytest.mark.parametrize("uri", ["postgresql://host/db", "/a/folder", "file:///a", "", "databricks"])
def test_other_backends_are_refused_by_name(tmp_path, uri):
    with pytest.raises(InvalidInputError, match="tracking_uri"):
        MlflowModelRegistry(RegistrySettings(uri, tmp_path, tmp_path))


@pytest.fixture
def black_hole():
    """A port that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("kind", ["closed_port", "black_hole"])
def test_a_server_that_is_down_is_noticed_within_seconds(tmp_path, kind, request):
    port = request.getfixturevalue(kind)
    registry = MlflowModelRegistry(RegistrySettings(f"http://127.0.0.1:{port}", None, tmp_path / "cache"))
    with pytest.raises(DependencyError):
        registry.versions("two-tower")  # the import of MLflow is not what is measured
    began = time.monotonic()
    with pytest.raises(DependencyError, match="MLflow did not answer"):
        registry.resolve("two-tower")
    assert time.monotonic() - began < 6.0


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_forbids_it_is_not_asked_again(tmp_path, status):
    class Forbids(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forbids) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        registry = MlflowModelRegistry(RegistrySettings(uri, None, tmp_path / "cache"))
        with pytest.raises(PermanentError, match="refused"):
            registry.versions("two-tower")
        server.shutdown()


def damaged_database(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "mlflow.db"
    if kind == "not a database":
        path.write_bytes(b"not a database" * 100)
    elif kind == "a folder":
        path.mkdir()
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "mlflow.db"
    return path


@pytest.mark.parametrize("kind", ["not a database", "a folder", "below a file"])
def test_a_database_that_cannot_be_opened_is_noticed_within_seconds(tmp_path, kind):
    path = damaged_database(tmp_path, kind)
    registry = MlflowModelRegistry(RegistrySettings(f"sqlite:///{path}", tmp_path / "a", tmp_path / "c"))
    began = time.monotonic()
    with pytest.raises(DependencyError, match="cannot be opened"):
        registry.resolve("two-tower")
    assert time.monotonic() - began < 6.0


def test_a_cached_artifact_needs_no_registry(tmp_path, artifact, closed_port):
    settings = RegistrySettings.embedded(tmp_path / "registry")
    version = MlflowModelRegistry(settings).register(spec(), artifact)
    folder = MlflowModelRegistry(settings).fetch(version)
    cut_off = MlflowModelRegistry(
        RegistrySettings(f"http://127.0.0.1:{closed_port}", None, settings.cache_folder)
    )
    assert cut_off.fetch(version) == folder


@pytest.mark.slow
def test_the_same_adapter_works_against_a_server(tmp_path, artifact, closed_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # the server shares two cores with the tests
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "mlflow",
                    "server",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(closed_port),
                ),
                *("--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--workers", "1"),
                *("--artifacts-destination", str(tmp_path / "server-artifacts")),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    try:
        registry = MlflowModelRegistry(
            RegistrySettings(f"http://127.0.0.1:{closed_port}", None, tmp_path / "cache")
        )
        deadline = time.monotonic() + 150.0
        while True:
            try:
                assert registry.versions("two-tower") == ()
                break
            except DependencyError:
                assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.3)
        version = registry.register(spec(parameters={"a": json.loads("[1]")}), artifact)
        registry.set_alias(version.ref, "champion")
        assert registry.resolve("two-tower").ref == version.ref
        assert (registry.fetch(version) / "weights.npz").read_bytes() == (
            artifact / "weights.npz"
        ).read_bytes()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)


def test_any_name_of_a_folder_works_and_nothing_is_written_beside_it(tmp_path, artifact, monkeypatch):
    name = "ws%20x a#b?c größe-数据 +&;:@="
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    registry = MlflowModelRegistry(RegistrySettings.embedded(Path(name) / "registry"))
    version = registry.register(spec(), artifact)
    assert (registry.fetch(version) / "weights.npz").is_file()
    assert [entry.name for entry in place.iterdir()] == [name]


def test_a_registry_can_be_moved_and_holds_no_path_of_its_first_place(tmp_path, artifact):
    first = tmp_path / "first-place"
    version = MlflowModelRegistry(RegistrySettings.embedded(first / "registry")).register(spec(), artifact)

    second = tmp_path / "second-place"
    first.rename(second)
    moved = MlflowModelRegistry(RegistrySettings.embedded(second / "registry"))
    assert (moved.fetch(version) / "weights.npz").is_file()
    assert moved.register(spec(), artifact).ref.version == 2
    assert not first.exists()
    for file in second.rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file
        assert not file.is_file() or str(Path.cwd()).encode() not in file.read_bytes(), file


def test_a_registry_of_before_that_names_its_first_place_can_be_moved_too(tmp_path, artifact):
    first = tmp_path / "first"
    registry = MlflowModelRegistry(RegistrySettings.embedded(first))
    version = registry.register(spec(), artifact)
    with closing(sqlite3.connect(first / "mlflow.db")) as connection, connection:
        at = (first / "artifacts").as_uri()
        connection.execute("UPDATE experiments SET artifact_location = ?", (at,))
        connection.execute("UPDATE model_versions SET source = ?, storage_location = ?", (at, at))
    second = tmp_path / "second"
    first.rename(second)
    moved = MlflowModelRegistry(RegistrySettings.embedded(second))
    assert (moved.fetch(version) / "weights.npz").is_file()
    assert (moved.fetch(moved.register(spec(), artifact)) / "weights.npz").is_file()
    assert not first.exists()
