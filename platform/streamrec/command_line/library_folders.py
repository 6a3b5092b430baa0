"""Where libraries keep what they compile and remember: in the workspace, never in somebody's home folder.

PyTensor compiles into the home folder unless told otherwise; Matplotlib, ArviZ, torch and CUDA keep caches
there. A service account often has no home folder, and a user's own is not ours to write to.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PYTENSOR_FLAGS: Final = "PYTENSOR_FLAGS"

_NO_TELEMETRY: Final = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing is reported to the makers of libraries: over the network, or through an id kept in a file."""


class LibraryFolders:
    """Tells libraries by the environment where to write; must come before they are imported.

    What the environment said before is overridden: whatever steers other programs on the machine is no wish
    about this one. PyTensor's other flags are kept.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        self._flags = environment.get(_PYTENSOR_FLAGS, "")
        environment.update(_NO_TELEMETRY)

    def use(self, folder: Path) -> None:
        """Keep everything below ``folder``, which is made by the first library that needs it."""
        place = folder.absolute()
        # PyTensor splits its flags as a shell would, at commas; the last one of a name counts.
        quoted = str(place / "pytensor").replace("\\", r"\\").replace('"', r"\"")
        compiled = f'base_compiledir="{quoted}"'
        self._environment.update(
            {
                "XDG_CACHE_HOME": str(place),  # ArviZ, Numba, torch.hub, Hugging Face
                "MPLCONFIGDIR": str(place / "matplotlib"),
                "TORCHINDUCTOR_CACHE_DIR": str(place / "torchinductor"),
                "CUDA_CACHE_PATH": str(place / "cuda"),
                _PYTENSOR_FLAGS: f"{self._flags},{compiled}" if self._flags else compiled,
            }
        )


@contextmanager
def library_folders() -> Iterator[LibraryFolders]:
    """Yield the folders of this process: a temporary one, removed at the end, until a workspace is named."""
    with tempfile.TemporaryDirectory(prefix="streamrec-libraries-", ignore_cleanup_errors=True) as temporary:
        folders = LibraryFolders(os.environ)
        folders.use(Path(temporary))
        yield folders
