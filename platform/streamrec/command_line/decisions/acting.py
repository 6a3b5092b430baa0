"""Who acts in a workspace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from streamrec.access.identity import Identity
    from streamrec.access.staff_file import StaffFile


def staff_file(workspace: Workspace) -> StaffFile:
    """Who may decide what in the workspace."""
    from streamrec.access.staff_file import StaffFile

    return StaffFile(workspace.access)


def acting(workspace: Workspace) -> Identity:
    """Who acts: the holder of the token in ``STREAMREC_TOKEN``; without an access file the local owner.

    Raises:
        PermissionDeniedError, DocumentRefusedError: See `streamrec.access.staff_file.acting`.
    """
    from streamrec.access.staff_file import TOKEN_VARIABLE
    from streamrec.access.staff_file import acting as acting_by

    return acting_by(staff_file(workspace), os.environ.get(TOKEN_VARIABLE))
