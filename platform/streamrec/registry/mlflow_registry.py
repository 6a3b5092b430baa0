"""The registry on MLflow: a SQLite file and a folder, or an MLflow server. The only module that knows MLflow.

MLflow is imported at the first call: it takes a second, which a command that never asks should not pay.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError, NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef, ModelSignature, ModelSpec, validate_model_name
from streamrec.files.locks import only_holder
from streamrec.registry.artifact_cache import DEFAULT_MAXIMUM_BYTES, ArtifactCache
from streamrec.registry.embedded_mlflow import (
    ARTIFACT_PATH,
    ARTIFACT_SCHEME,
    SQLITE_PREFIX,
    artifact_folder,
    check_sqlite,
    mlflow_uri,
)
from streamrec.registry.file_formats.formats import MLMODEL_FILE
from streamrec.registry.manifest import write_manifest
from streamrec.registry.mlflow_attachments import attach, attached
from streamrec.registry.mlflow_conventions import all_pages, mlflow_name
from streamrec.registry.mlflow_errors import platform_error
from streamrec.registry.model_registry import ModelVersion
from streamrec.registry.version_document import (
    new_document,
    parse_document,
    stage_artifact,
    validate_alias,
    validate_attachment,
    validate_spec,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOG = logging.getLogger(__name__)

_EXPERIMENT: Final = "streamrec-models"
_DOCUMENT_TAG: Final = "streamrec.version"
_SCHEMA_TIMEOUT_S: Final = 60.0
"""Creating the schema takes about two seconds on an idle core."""

_MAXIMUM_PARAMETERS: Final = 100
"""MLflow's limit for one batch; the version's document has them all."""

_FORCED_ENVIRONMENT: Final[Mapping[str, str]] = {
    # The default would run pickled code from an artifact.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_DEFAULT_ENVIRONMENT: Final[Mapping[str, str]] = {
    # With MLflow's own defaults a call blocks for more than a minute while the server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
}


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Where the registry lives."""

    tracking_uri: str
    """``sqlite:///`` and a path, or ``http(s)://`` and a host."""

    artifact_root: Path | None
    """Folder for artifacts. None with a server, which then decides itself."""

    cache_folder: Path
    """Fetched artifacts by digest; may be shared by all processes of a machine."""

    cache_maximum_bytes: int = DEFAULT_MAXIMUM_BYTES
    """What the cache may hold: beyond it, what was not used for the longest time goes."""

    @classmethod
    def embedded(cls, folder: Path, cache_maximum_bytes: int = DEFAULT_MAXIMUM_BYTES) -> RegistrySettings:
        """Return the settings of a registry that lies in one folder."""
        folder = folder.resolve()
        return cls(
            f"{SQLITE_PREFIX}{folder / 'mlflow.db'}",
            folder / "artifacts",
            folder / "cache",
            cache_maximum_bytes,
        )


class MlflowModelRegistry:
    """Implements `ModelRegistry`. Safe to use from several threads and processes."""

    def __init__(self, settings: RegistrySettings) -> None:
        """Remember the settings; nothing is opened before the first call.

        Raises:
            InvalidInputError: The tracking URI is neither SQLite nor HTTP, or SQLite comes without a folder.
        """
        scheme = urlsplit(settings.tracking_uri).scheme
        if not settings.tracking_uri.startswith(SQLITE_PREFIX) and scheme not in ("http", "https"):
            raise InvalidInputError("tracking_uri", "must start with sqlite:///, http:// or https://")
        if settings.tracking_uri.startswith(SQLITE_PREFIX) and settings.artifact_root is None:
            raise InvalidInputError("artifact_root", "must be a folder when the registry is a SQLite file")
        self._settings = settings
        self._cache = ArtifactCache(settings.cache_folder, settings.cache_maximum_bytes)
        self._lock = Lock()
        self._client: MlflowClient | None = None

    def register(self, spec: ModelSpec, artifact: Path) -> ModelVersion:
        """Store the folder ``artifact`` as the next version; see `ModelRegistry.register`.

        The version is created last, with all its tags at once: whoever sees it sees it whole. A run that
        is cut off before leaves files behind, but no version.
        """
        validate_model_name(spec.name)
        for needed in spec.depends_on.values():
            self.get(needed)
        with tempfile.TemporaryDirectory(prefix="streamrec-register-") as temporary:
            staging = Path(temporary) / ARTIFACT_PATH
            stage_artifact(artifact, staging)
            validate_spec(spec)
            (staging / MLMODEL_FILE).write_text(_mlmodel(spec.signature), encoding="utf-8")
            digest = write_manifest(staging)
            document = new_document(spec, digest, datetime.now(UTC))
            with self._connected(f"registering {spec.name}") as client:
                run_id, source = self._log_run(client, spec, staging)
                self._ensure_registered_model(client, spec.name)
                created = client.create_model_version(
                    spec.name,
                    source=source,
                    run_id=run_id,
                    tags={
                        _DOCUMENT_TAG: document,
                        "streamrec.artifact_digest": digest,
                        "streamrec.data_fingerprint": spec.data_fingerprint,
                        "streamrec.settings_fingerprint": spec.settings_fingerprint,
                        "streamrec.depends_on": json.dumps(
                            {role: str(ref) for role, ref in sorted(spec.depends_on.items())}
                        ),
                    },
                )
                client.set_terminated(run_id)
        return parse_document(document, ModelRef(spec.name, int(created.version)), frozenset())

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return one version; see `ModelRegistry.get`."""
        with self._connected(f"reading {ref}") as client:
            found = client.get_model_version(ref.name, str(ref.version))
            return _version(found, frozenset(found.aliases))

    def resolve(self, name: str, alias: str = CHAMPION) -> ModelVersion:
        """Return the version that an alias points to; see `ModelRegistry.resolve`."""
        validate_model_name(name)
        validate_alias(alias)
        try:
            with self._connected(f"resolving {name}") as client:
                number = self._aliases(client, name).get(alias)
        except NotFoundError:
            number = None
        if number is None:
            raise NotFoundError(f"model {name!r} has no version with the alias {alias!r}")
        return self.get(ModelRef(name, number))

    def find(self, name: str, *, data_fingerprint: str, settings_fingerprint: str) -> ModelVersion | None:
        """Return the newest version trained on this data with these settings; see `ModelRegistry.find`."""
        wanted = (data_fingerprint, settings_fingerprint)
        same = (
            one for one in self.versions(name) if (one.data_fingerprint, one.settings_fingerprint) == wanted
        )
        return next(same, None)

    def names(self) -> Sequence[str]:
        """Return the names of the registered models, sorted; see `ModelRegistry.names`.

        A model that somebody created around the platform, under a name that the platform refuses, is left out
        with a warning in the log.
        """
        with self._connected("listing the models") as client:
            found = [str(model.name) for model in all_pages(client.search_registered_models)]
        names: list[str] = []
        for name in found:
            try:
                names.append(validate_model_name(name))
            except InvalidInputError as error:
                _LOG.warning("the model %r is left out of the list: %s", name, error)
        return tuple(sorted(names))

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions, newest first; see `ModelRegistry.versions`.

        A version that somebody created around the platform is left out, with a warning in the log.
        """
        validate_model_name(name)
        with self._connected(f"listing {name}") as client:
            search = partial(client.search_model_versions, f"name = '{name}'")
            found = list(all_pages(search))
            aliases = self._aliases(client, name) if found else {}
        versions: list[ModelVersion] = []
        for entry in found:
            pointing = frozenset(alias for alias, number in aliases.items() if number == int(entry.version))
            try:
                versions.append(_version(entry, pointing))
            except ArtifactError as error:
                _LOG.warning("left out of the list of versions: %s", error)
        return tuple(sorted(versions, key=lambda version: version.ref.version, reverse=True))

    def set_alias(self, ref: ModelRef, alias: str) -> None:
        """Point an alias at a version; see `ModelRegistry.set_alias`."""
        validate_alias(alias)
        self.get(ref)
        with self._connected(f"setting the alias {alias} of {ref}") as client:
            client.set_registered_model_alias(ref.name, alias, str(ref.version))

    def remove_alias(self, name: str, alias: str) -> None:
        """Let an alias point nowhere; see `ModelRegistry.remove_alias`."""
        validate_model_name(name)
        validate_alias(alias)
        with self._connected(f"removing the alias {alias} of {name}") as client:
            if alias in self._aliases(client, name):
                client.delete_registered_model_alias(name, alias)

    def fetch(self, version: ModelVersion) -> Path:
        """See `ModelRegistry.fetch`. Needs no MLflow where it is cached: replicas start without."""

        def download(folder: Path) -> None:
            with self._connected(f"downloading {version.ref}") as client:
                if self._settings.artifact_root is not None:
                    found = client.get_model_version(version.ref.name, str(version.ref.version))
                    stored = artifact_folder(self._settings.artifact_root, str(found.run_id), version.ref)
                    # Links are copied as links, which the check of the manifest refuses.
                    shutil.copytree(stored, folder, symlinks=True, dirs_exist_ok=True)
                    return
                from mlflow.artifacts import download_artifacts

                source = client.get_model_version_download_uri(version.ref.name, str(version.ref.version))
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix="incoming-") as temporary:
                    local = download_artifacts(
                        artifact_uri=source, dst_path=temporary, tracking_uri=self._settings.tracking_uri
                    )
                    for child in Path(local).iterdir():
                        shutil.move(child, folder / child.name)

        return self._cache.fetch(version.artifact_digest, download)

    def attach(self, ref: ModelRef, name: str, content: bytes) -> None:
        """Keep a file beside an artifact; see `ModelRegistry.attach`."""
        validate_attachment(name, content)
        with self._connected(f"attaching {name} to {ref}") as client:
            attach(client, self._settings.artifact_root, ref, name, content)

    def attached(self, ref: ModelRef, name: str) -> bytes | None:
        """Return what was attached; see `ModelRegistry.attached`."""
        validate_attachment(name)
        with self._connected(f"reading {name} of {ref}") as client:
            return attached(client, self._settings.artifact_root, ref, name)

    def keep_only(self, versions: Collection[ModelVersion]) -> None:
        """Let the files of all other versions be evicted; see `ModelRegistry.keep_only`."""
        self._cache.keep_only({version.artifact_digest for version in versions})

    def note(self, key: str) -> str | None:
        """See `noted_documents.Notes`: a tag of the experiment."""
        with self._connected(f"reading {key}") as client:
            text: str | None = client.get_experiment(self._experiment_id(client)).tags.get(key)
            return text

    def write_note(self, key: str, text: str) -> None:
        """See `noted_documents.Notes`."""
        with self._connected(f"writing {key}") as client:
            client.set_experiment_tag(self._experiment_id(client), key, text)

    @contextmanager
    def _connected(self, doing: str) -> Iterator[MlflowClient]:
        """Yield the client, and map what MLflow and its libraries raise to the platform's errors."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield client
        except MlflowException as error:
            raise platform_error(error.error_code, error.message, doing) from error
        except (SQLAlchemyError, RequestException, OSError) as error:
            raise DependencyError(f"{doing}: MLflow did not answer: {error}") from error

    def _connect(self) -> MlflowClient:
        uri = self._settings.tracking_uri
        if uri.startswith(SQLITE_PREFIX):
            check_sqlite(Path(uri.removeprefix(SQLITE_PREFIX)))
            # Else the experiment that MLflow makes by default names the folder of this process.
            os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", ARTIFACT_SCHEME)
        os.environ.update(_FORCED_ENVIRONMENT)
        for name, value in _DEFAULT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # They announce every migration at level INFO.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        try:
            with self._alone():
                client = MlflowClient(tracking_uri=mlflow_uri(uri), registry_uri=mlflow_uri(uri))
                if uri.startswith(SQLITE_PREFIX):
                    client.get_experiment_by_name(_EXPERIMENT)  # creates what is not there yet
            return client
        except (MlflowException, SQLAlchemyError, ValueError, OSError) as error:
            raise DependencyError(f"the model registry {uri} cannot be opened: {error}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from creating the same SQLite schema: MLflow fails if two do it at once."""
        uri = self._settings.tracking_uri
        if not uri.startswith(SQLITE_PREFIX):
            yield
            return
        lock_file = Path(f"{uri.removeprefix(SQLITE_PREFIX)}.lock")
        waited = f"for {_SCHEMA_TIMEOUT_S:g} s another process has been opening the model registry {uri}"
        with only_holder(lock_file, f"{waited}; try again", timeout_s=_SCHEMA_TIMEOUT_S):
            yield

    def _log_run(self, client: MlflowClient, spec: ModelSpec, staging: Path) -> tuple[str, str]:
        """Log metrics, parameters and files as a run, for people who look at MLflow's own pages.

        Returns:
            The run, and where its artifact lies in MLflow's words.
        """
        from mlflow.entities import Metric, Param

        run = client.create_run(self._experiment_id(client), run_name=spec.name)
        run_id = str(run.info.run_id)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        metrics = {mlflow_name(name): float(value) for name, value in spec.metrics.items()}
        parameters = {mlflow_name(name): json.dumps(value)[:6000] for name, value in spec.parameters.items()}
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items()],
            params=[Param(name, value) for name, value in list(parameters.items())[:_MAXIMUM_PARAMETERS]],
        )
        root = self._settings.artifact_root
        if root is None:
            client.log_artifacts(run_id, str(staging), ARTIFACT_PATH)
            return run_id, f"{run.info.artifact_uri}/{ARTIFACT_PATH}"
        shutil.copytree(staging, root / run_id / "artifacts" / ARTIFACT_PATH)
        return run_id, f"{ARTIFACT_SCHEME}{run_id}/artifacts/{ARTIFACT_PATH}"

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(_EXPERIMENT)
        if experiment is None:
            location = None if self._settings.artifact_root is None else ARTIFACT_SCHEME
            try:
                return str(client.create_experiment(_EXPERIMENT, artifact_location=location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(_EXPERIMENT)  # another process was first
        return str(experiment.experiment_id)

    def _ensure_registered_model(self, client: MlflowClient, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _aliases(self, client: MlflowClient, name: str) -> Mapping[str, int]:
        model = client.get_registered_model(name)
        return {str(alias): int(number) for alias, number in model.aliases.items()}


def _version(entry: Any, aliases: frozenset[str]) -> ModelVersion:
    """Turn MLflow's entry into ours. Raises `ArtifactError` if the platform did not write it."""
    ref = ModelRef(str(entry.name), int(entry.version))
    document = entry.tags.get(_DOCUMENT_TAG)
    if document is None:
        raise ArtifactError(f"{ref} was not registered through the platform: it has no {_DOCUMENT_TAG!r} tag")
    return parse_document(document, ref, aliases)


def _mlmodel(signature: ModelSignature) -> str:
    """Return MLflow's description of the model: the same bytes for the same signature."""
    import yaml
    from mlflow.exceptions import MlflowException
    from mlflow.models.signature import ModelSignature as MlflowSignature
    from mlflow.types.schema import Schema
    from mlflow.types.schema import TensorSpec as MlflowTensorSpec
    from numpy import dtype

    try:
        inputs, outputs = (
            Schema([MlflowTensorSpec(dtype(one.dtype), one.shape, one.name) for one in tensors])
            for tensors in (signature.inputs, signature.outputs)
        )
    except (TypeError, MlflowException) as error:
        raise InvalidInputError("signature", f"must name NumPy types ({error})") from error
    described = MlflowSignature(inputs=inputs, outputs=outputs).to_dict()
    return yaml.safe_dump({"flavors": {"streamrec": {"format": 1}}, "signature": described}, sort_keys=True)
