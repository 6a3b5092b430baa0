"""Where the service is, and how a client behaves."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from streamrec.contracts.errors import InvalidInputError

_BEARER_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""RFC 6750, section 2.1."""

_LONGEST_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a client behaves.

    Attributes:
        base_url: Where the service is: ``http`` or ``https``, a host, maybe a port and a path.
        token: The caller's token, where the service asks for one.
        token_over_http: Send the token over ``http`` to another machine too. Whoever listens there can read
            and use it: for networks that are encrypted by other means.
        ca_file: Certificates (PEM) that are trusted instead of the public ones, for ``https``.
        timeout_s: What a call without a deadline may take in all, retries and pauses included.
        network_ms: Of a call's deadline, what is kept for the way there and back; the service is told the
            rest.
        maximum_attempts: Requests a call, the first one included; 1 never retries.
        retry_pause_s: Pause before the first retry, doubled for each later one; its length is drawn from the
            upper half of that, so that callers who failed together do not come back together.
        maximum_answer_bytes: A larger answer is refused while it is being read.
        maximum_connections: Connections at once.
    """

    base_url: str
    token: str | None = field(default=None, repr=False)
    token_over_http: bool = False
    ca_file: str | None = None
    timeout_s: float = 10.0
    network_ms: float = 10.0
    maximum_attempts: int = 2
    retry_pause_s: float = 0.05
    maximum_answer_bytes: int = 4 * 1024 * 1024
    maximum_connections: int = 100

    def __post_init__(self) -> None:
        address = _address(self.base_url)
        object.__setattr__(self, "base_url", address.geturl().rstrip("/"))
        if self.token is not None:
            if not _BEARER_TOKEN.fullmatch(self.token):
                # What it holds is a secret, so it is not quoted.
                raise InvalidInputError("token", "must be letters, digits and -._~+/ alone, on one line")
            if address.scheme == "http" and not self.token_over_http and not _is_this_machine(address):
                raise InvalidInputError(
                    "token",
                    "would cross the network in the clear: use https, or set token_over_http where the "
                    "network is encrypted by other means",
                )
        _in_bounds("timeout_s", self.timeout_s, above=0.0, at_most=_LONGEST_TIMEOUT_S)
        _in_bounds("network_ms", self.network_ms, above=-1e-9, at_most=1000.0)
        _in_bounds("maximum_attempts", self.maximum_attempts, above=0, at_most=10)
        _in_bounds("retry_pause_s", self.retry_pause_s, above=-1e-9, at_most=60.0)
        _in_bounds("maximum_answer_bytes", self.maximum_answer_bytes, above=0, at_most=1 << 30)
        _in_bounds("maximum_connections", self.maximum_connections, above=0, at_most=10_000)


def checked_deadline_ms(deadline_ms: float) -> float:
    """Return a call's deadline.

    Raises:
        InvalidInputError: It is not above 0 and at most ten minutes.
    """
    _in_bounds("deadline_ms", deadline_ms, above=0.0, at_most=_LONGEST_TIMEOUT_S * 1000.0)
    return deadline_ms


def _in_bounds(name: str, value: float, *, above: float, at_most: float) -> None:
    if not (math.isfinite(value) and above < value <= at_most):
        raise InvalidInputError(name, f"must be a number of at most {at_most:g}, not {value!r}")


def _address(base_url: str) -> SplitResult:
    if any(character.isspace() or not character.isprintable() for character in base_url):
        raise InvalidInputError("base_url", "must hold neither spaces nor control characters")
    try:
        address = urlsplit(base_url)
        port = address.port
    except ValueError as error:
        raise InvalidInputError("base_url", f"is no address: {error}") from error
    if address.scheme not in ("http", "https") or not address.hostname or port == 0:
        raise InvalidInputError("base_url", "must be like https://HOST or http://HOST:PORT")
    if address.username is not None or address.password is not None:
        raise InvalidInputError("base_url", "must hold no user and no password; a token is its own setting")
    if "?" in base_url or "#" in base_url:
        raise InvalidInputError("base_url", "must have neither a query nor a fragment")
    return address


def _is_this_machine(address: SplitResult) -> bool:
    host = address.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
