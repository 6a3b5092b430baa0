from __future__ import annotations

import pytest

from streamrec.access.identity import Identity
from streamrec.command_line.decisions.deploying import deploy_version
from streamrec.command_line.judging import WAIVER_VARIABLE
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import PermissionDeniedError
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.progress import SilentProgress
from streamrec.governance.deployment import Actor


def test_only_the_platform_role_lets_gates_run_without_isolation(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(WAIVER_VARIABLE, "allowed")
    by = Actor(Identity("sam", frozenset({ActorRole.SPOKE}), slots=("ads.clicks",)), ActorRole.SPOKE, "new")
    with pytest.raises(PermissionDeniedError, match=r"gates without isolation.*needs the role platform"):
        # Refused before anything is looked at.
        deploy_version(Workspace(tmp_path), None, by, None, SilentProgress())  # type: ignore[arg-type]
