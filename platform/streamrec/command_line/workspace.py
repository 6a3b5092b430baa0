"""Where everything lives on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from streamrec.command_line.library_folders import LibraryFolders


def _libraries_write_into(context: typer.Context, root: Path) -> Path:
    """Have the libraries of this process write into its workspace, before a command imports them."""
    if isinstance(context.obj, LibraryFolders):
        context.obj.use(Workspace(root).library_caches)
    return root


WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="STREAMREC_WORKSPACE",
        file_okay=False,
        callback=_libraries_write_into,
        help="Folder that holds data, features, models and events.",
    ),
]
"""The option that every command shares."""

DEFAULT_WORKSPACE = Path("var")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one installation; nothing outside them is written.

    Attributes:
        root: The folder that holds the rest.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Data folders in the neutral format."""
        return self.root / "data"

    @property
    def items(self) -> Path:
        """The item log: what was put into the catalogue and removed from it since the import."""
        return self.root / "items"

    @property
    def features(self) -> Path:
        """The feature store: registry, online store, Parquet sources."""
        return self.root / "features"

    @property
    def registry(self) -> Path:
        """The model registry: its SQLite file, the artifacts, and the cache of verified artifacts."""
        return self.root / "registry"

    @property
    def keys(self) -> Path:
        """The keys that sign documents, and those whose signatures count (`streamrec keys`)."""
        return self.root / "keys"

    @property
    def callers(self) -> Path:
        """Who may use a service that asks for tokens (`streamrec callers`)."""
        return self.root / "callers.json"

    @property
    def access(self) -> Path:
        """Who may decide what (`streamrec access`); without it the workspace's owner decides alone."""
        return self.root / "access.json"

    @property
    def traffic(self) -> Path:
        """Which versions serve: the signed traffic document, and what belongs to it."""
        return self.root / "traffic"

    @property
    def control_plane(self) -> Path:
        """What the control plane keeps for itself: answers to changes, by their key."""
        return self.root / "control_plane"

    @property
    def ledger(self) -> Path:
        """Who decided what on which evidence: an SQLite file."""
        return self.root / "ledger" / "ledger.sqlite"

    @property
    def ledger_anchor(self) -> Path:
        """How the ledger ended when it was last appended to: a signed document."""
        return self.root / "anchors" / "ledger.json"

    @property
    def exposure_prices(self) -> Path:
        """The bonus that an item's score gets for its creator's language, as a signed document.

        A controller publishes it and re-ranking replicas follow it.
        """
        return self.root / "exposure" / "exposure_prices.json"

    @property
    def exposure_prices_copy(self) -> Path:
        """The last good `exposure_prices`, kept by the replicas of this machine for their next start."""
        return self.root / "exposure" / "exposure_prices.last_good.json"

    @property
    def training(self) -> Path:
        """Scratch folders of training runs."""
        return self.root / "training"

    @property
    def library_caches(self) -> Path:
        """What libraries compiled or remember; may be removed at any time."""
        return self.root / "library_caches"

    @property
    def supervisor(self) -> Path:
        """What `streamrec up` keeps: the log of each part, and the lock by which it is alone."""
        return self.root / "up"

    @property
    def events(self) -> Path:
        """The event log."""
        return self.root / "events"

    @property
    def metrics(self) -> Path:
        """Metrics that this workspace defines beside those of the platform and of spokes; need not exist."""
        return self.root / "metrics.yaml"

    @property
    def metric_statistics(self) -> Path:
        """What metrics keep of finished days; may be removed at any time, and is computed again."""
        return self.root / "metric_statistics"

    @property
    def erasures(self) -> Path:
        """The list of the persons who were erased, as digests: a signed document."""
        return self.root / "erasures" / "erasures.json"

    @property
    def erasure_secret(self) -> Path:
        """The key of those digests."""
        return self.root / "erasures" / "secret"

    @property
    def demo(self) -> Workspace:
        """The demo's own workspace, so that a run never touches the events or models of this one."""
        return Workspace(self.root / "demo")
