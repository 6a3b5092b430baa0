"""A workspace to measure on, made without training and kept: data, models in the registry, features in Redis.

FOLDER/KEY/data, registry, keys, traffic, features, redis/rows.rdb, and last of all made.json
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from services.recommendations import cold_start, item_index, ranking, reranking, retrieval
from services.recommendations.contracts.stages import (
    COLD_START,
    MODEL_NAMES,
    MODEL_STAGES,
    RANKING,
    RERANKING,
    RETRIEVAL,
    SLOTS,
)
from services.recommendations.load_tests.made_models import (
    make_cold_starter,
    make_ranker,
    make_reranker,
    make_retriever,
)
from services.recommendations.load_tests.made_world import MadeWorld
from services.recommendations.load_tests.redis_server import RedisServer, check_redis, running_redis
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec import features, registry, rollout
from streamrec.command_line.composition import feature_settings, open_registry
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import NotReadyError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.features.settings import FeatureSettings
from streamrec.files.durable_files import write_atomically
from streamrec.registry.model_registry import ModelRegistry

MADE_FILE: Final = "made.json"
"""Written last: a folder without it was not finished."""

_WRITING_ROOMS: Final = (cold_start, item_index, ranking, reranking, retrieval, features, registry, rollout)
_MEBIBYTE: Final = 1 << 20
_COPIED: Final = ("features", "keys", "traffic")
"""What a run writes into, or beside. The registry is read alone, and shared."""


@dataclass(frozen=True)
class MadeWorkspace:
    """A finished workspace.

    Attributes:
        settings: Of the world in it.
        workspace: Where it lies. Serve from a `run_copy`, not from here.
        made_s: How long making it took; 0 where it was kept from before.
    """

    settings: WorldSettings
    workspace: Workspace
    made_s: float

    @property
    def redis_folder(self) -> Path:
        """Where its rows lie between runs."""
        return self.workspace.root / "redis"


def made_workspace(folder: Path, settings: WorldSettings, progress: Progress) -> MadeWorkspace:
    """Return the workspace of these settings below ``folder``, made if it is not there.

    One that was cut off, or written by other code, is made anew. Making one of 200,000 items takes about a
    minute and 2 GiB of memory. Nobody else may make it meanwhile: what is not finished is taken for cut off.

    Raises:
        DependencyError: There is no Redis server to fill.
    """
    workspace = Workspace((folder / settings.key).resolve())
    code = _code_digest()
    if _made_by(workspace.root / MADE_FILE) == code:
        return MadeWorkspace(settings, workspace, 0.0)
    check_redis()
    if workspace.root.exists():
        shutil.rmtree(workspace.root)
    started_s = time.monotonic()
    _Making(workspace, settings, progress).run()
    made_s = time.monotonic() - started_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    made = {
        "settings": asdict(settings),
        "code": code,
        "seconds": round(made_s, 1),
        "peak_memory_mib": peak_mib,
    }
    write_atomically(workspace.root / MADE_FILE, json.dumps(made, indent=2).encode())
    return MadeWorkspace(settings, workspace, made_s)


@contextlib.contextmanager
def run_copy(made: MadeWorkspace) -> Iterator[Workspace]:
    """A workspace of one run's own: what is served writes into it, and the kept one stays as it is."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=made.workspace.root) as name:
        copy = Workspace(Path(name))
        for part in _COPIED:
            shutil.copytree(made.workspace.root / part, copy.root / part)
        copy.registry.symlink_to(made.workspace.registry)
        yield copy


def redis_features(workspace: Workspace, server: RedisServer) -> FeatureSettings:
    """The workspace's features with their online rows in ``server``."""
    return replace(feature_settings(workspace), online=server.url)


def _made_by(file: Path) -> str | None:
    """Digest of the code that wrote a workspace; None where it is not finished."""
    try:
        code = json.loads(file.read_text("utf-8")).get("code")
    except FileNotFoundError:
        return None
    return str(code)


def _code_digest() -> str:
    """SHA-256 over the code that writes what a workspace holds: the formats of other code may differ."""
    digest = hashlib.sha256()
    folders = [Path(folder) for room in _WRITING_ROOMS for folder in room.__path__]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    for path in (*files, *sorted(Path(__file__).parent.glob("made_*.py"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Making:
    workspace: Workspace
    settings: WorldSettings
    progress: Progress

    def run(self) -> None:
        self.workspace.root.mkdir(parents=True)
        dataset, world = self._data()
        registry = open_registry(self.workspace)
        refs = self._models(world, dataset, registry)
        self._promote(registry, refs)
        self._features(dataset)

    def _data(self) -> tuple[Dataset, MadeWorld]:
        self.progress.start(f"load test: a world of {self.settings.item_count:,} items", 2)
        world = MadeWorld.of(self.settings)
        world.write(self.workspace.data / "made")
        self.progress.advance(note="written")
        dataset = load_dataset(self.workspace.data / "made")
        self.progress.advance(note=f"{len(dataset.interactions):,} interactions")
        self.progress.finish()
        return dataset, world

    def _models(self, world: MadeWorld, dataset: Dataset, registry: ModelRegistry) -> dict[str, ModelRef]:
        catalogue = dataset.catalogue
        self.progress.start("load test: models with random weights", len(MODEL_STAGES))
        refs: dict[str, ModelRef] = {}

        def register(stage: str, save: Callable[[Path], None]) -> None:
            depends_on = {RETRIEVAL: refs[RETRIEVAL]} if stage == COLD_START else {}
            spec = ModelSpec(
                MODEL_NAMES[stage],
                ModelSignature(
                    (TensorSpec("history", "str", (-1,)),), (TensorSpec("item_ids", "str", (-1,)),)
                ),
                data_fingerprint=dataset.fingerprint,
                settings_fingerprint=self.settings.key,
                parameters={**asdict(self.settings), "weights": "random"},
                depends_on=depends_on,
                slot=SLOTS[stage],
            )
            with tempfile.TemporaryDirectory(prefix=f"{stage}-", dir=self.workspace.root) as name:
                output = Path(name)
                save(output)
                size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
                refs[stage] = registry.register(spec, output).ref
            self.progress.advance(note=f"{stage}, {size / _MEBIBYTE:,.0f} MiB")

        retriever = make_retriever(world, catalogue)
        register(RETRIEVAL, retriever.save)
        register(COLD_START, make_cold_starter(world, retriever.index).save)
        del retriever  # one model in memory at a time
        register(RANKING, make_ranker(world, catalogue).save)
        register(RERANKING, make_reranker(catalogue).save)
        self.progress.finish()
        return refs

    def _promote(self, registry: ModelRegistry, refs: dict[str, ModelRef]) -> None:
        from streamrec.command_line.decisions.desk import promote_unjudged

        self.progress.start("load test: promoting", 1)
        promote_unjudged(self.workspace, tuple(refs.values()), "load-test", "made for a load test", registry)
        self.progress.advance()
        self.progress.finish()

    def _features(self, dataset: Dataset) -> None:
        from streamrec.features.materialization import materialize

        with running_redis(self.workspace.root / "redis") as server:
            report = materialize(redis_features(self.workspace, server), dataset, progress=self.progress)
            if report.online_users != self.settings.user_count:
                raise NotReadyError(
                    f"{report.online_users} of {self.settings.user_count} users have a row in Redis"
                )
            server.save()
