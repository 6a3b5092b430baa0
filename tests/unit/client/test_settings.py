from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from streamrec.client import ClientSettings
from streamrec.contracts.errors import InvalidInputError
from tests.unit.client.misbehaving_server import Server


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "service:8000",
        "ftp://service",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user@service",
        "http://user:password@service",
        "http://service?x=1",
        "http://service?",
        "http://service#x",
        "http://service:99999",
        "http://service:0",
        "http://service:port",
        "http://[::1",
        "http://ser vice",
        "http://service\n",
        "http://service\x00",
    ],
)
def test_an_address_that_is_none_is_refused(base_url):
    with pytest.raises(InvalidInputError, match="base_url"):
        ClientSettings(base_url)


@pytest.mark.parametrize("base_url", ["https://service", "http://127.0.0.1:8000/", "http://[::1]:8000/a/b/"])
def test_an_address_loses_its_last_slash(base_url):
    assert ClientSettings(base_url).base_url == base_url.rstrip("/")


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx-evil: 1", "ä", "=", "a=b"])
def test_a_token_that_is_no_token_is_refused_and_not_quoted(token):
    with pytest.raises(InvalidInputError, match="token") as refused:
        ClientSettings("https://service", token=token)
    assert "evil" not in str(refused.value)


def test_a_token_crosses_no_network_in_the_clear_unless_told_to():
    with pytest.raises(InvalidInputError, match="in the clear"):
        ClientSettings("http://service.example", token="abc")
    ClientSettings("http://service.example", token="abc", token_over_http=True)
    for safe in ("https://service.example", "http://localhost:1", "http://127.0.0.9", "http://[::1]"):
        assert "abc" not in repr(ClientSettings(safe, token="abc"))


@pytest.mark.parametrize(
    "setting",
    [
        {"timeout_s": 0.0},
        {"timeout_s": float("inf")},
        {"timeout_s": 1e6},
        {"network_ms": -1.0},
        {"maximum_attempts": 0},
        {"maximum_attempts": 11},
        {"retry_pause_s": float("nan")},
        {"maximum_answer_bytes": 0},
        {"maximum_connections": 0},
    ],
    ids=str,
)
def test_settings_have_bounds(setting):
    with pytest.raises(InvalidInputError, match=next(iter(setting))):
        ClientSettings("http://service", **setting)


def test_a_client_imports_little_and_heeds_no_proxy_of_the_environment():
    program = """
import asyncio, json, sys
from streamrec.client import AsyncClient, Client, ClientSettings
with Client(ClientSettings(sys.argv[1])) as client:
    client.recommend("u")
async def ask():
    async with AsyncClient(ClientSettings(sys.argv[1])) as client:
        await client.recommend("u")
asyncio.run(ask())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    nowhere = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    environment = {**os.environ, **nowhere, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("no_proxy", "NO_PROXY"):
        environment.pop(name, None)
    with Server() as server:
        ran = subprocess.run(
            [sys.executable, "-c", program, server.url],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 0, ran.stderr
    assert len(server.requests) == 2
    heavy = {"numpy", "pandas", "pyarrow", "pydantic", "scipy", "typer", "cryptography", "ray", "fastapi"}
    assert heavy.isdisjoint(json.loads(ran.stdout))
