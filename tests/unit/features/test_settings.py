"""Where features live."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.features.settings import FeatureSettings, redis_connection


def test_a_redis_url_becomes_a_connection_without_retries():
    assert redis_connection("redis://cache:7000/3", 50) == (
        "cache:7000,db=3,retry=null,socket_timeout=0.05,socket_connect_timeout=0.05"
    )
    assert redis_connection("rediss://:s3cret@cache", 50).endswith(',ssl=true,password="s3cret"')
    assert redis_connection("redis://cache", 50).startswith("cache:6379,db=0,")


@pytest.mark.parametrize(
    "url",
    ["postgres://cache", "redis://", "cache:6379", "redis://cache:port", "redis://cache/x", "redis://:a,b@c"],
)
def test_anything_else_is_refused(url: str):
    with pytest.raises(InvalidInputError, match="online"):
        FeatureSettings(Path("features"), Path("feature_repo"), online=url)
