"""Where features live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streamrec.contracts.errors import InvalidInputError

SQLITE: Final = "sqlite"


@dataclass(frozen=True)
class FeatureSettings:
    """Where features live, offline and online.

    Attributes:
        folder: Published whole: offline tables, registry and, with SQLite, the online rows.
        repo: The folder of Feast declarations, ``feature_repo``.
        online: ``sqlite``, or ``redis://[:password@]host[:port][/database]`` (``rediss://`` for TLS).
        redis_read_timeout_ms: A slower Redis counts as down. Bounds what a read adds to a request.
        redis_write_timeout_ms: The same for materialisation, which nobody waits for.
    """

    folder: Path
    repo: Path
    online: str = SQLITE
    redis_read_timeout_ms: int = 50
    redis_write_timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        if self.online != SQLITE:
            redis_connection(self.online, self.redis_read_timeout_ms)


def redis_connection(url: str, timeout_ms: int) -> str:
    """Feast's connection string for a Redis URL, without retries and with short timeouts.

    Feast's own default retries for 4 to 12 s when Redis is down, and hangs for longer when it is frozen.

    Raises:
        InvalidInputError: ``url`` is no Redis URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise InvalidInputError("online", f"{url!r} is no Redis URL ({error})") from error
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise InvalidInputError("online", f"{url!r} is neither 'sqlite' nor redis://host:port/database")
    timeout_s = timeout_ms / 1000
    options = [
        f"{parts.hostname}:{port}",
        f"db={database}",
        "retry=null",
        f"socket_timeout={timeout_s}",
        f"socket_connect_timeout={timeout_s}",
    ]
    if parts.scheme == "rediss":
        options.append("ssl=true")
    if parts.password:
        if "," in parts.password:
            raise InvalidInputError("online", "Feast cannot take a Redis password that holds a comma")
        # Quoted: a password of digits would otherwise reach the client as a number.
        options.append(f'password="{parts.password}"')
    return ",".join(options)
