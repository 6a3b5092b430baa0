from __future__ import annotations

import pytest

from streamrec.erasure import erased_persons


@pytest.fixture(autouse=True)
def nobody_follows(request, monkeypatch):
    """No service runs beside these tests, so that none has to be waited for."""
    if "the_command_waits" not in request.node.name:
        monkeypatch.setattr(erased_persons, "FOLLOWED_WITHIN_S", 0.0)
