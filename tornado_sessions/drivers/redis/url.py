"""A URL → what a client of Redis is made from.

It must not know connections. Everything that is wrong is told at once, and never a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tornado_sessions.errors import ConfigError

__all__ = ["ClientOptions", "client_options"]

_OPTIONS = {
    "prefix",
    "db",
    "timeout",
    "connect_timeout",
    "max_connections",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "username",
}


class ClientOptions(NamedTuple):
    """What a URL says of a server.

    Attributes:
        kind: ``single``, ``sentinel`` or ``cluster``.
        hosts: addresses; of the sentinels or of some nodes.
        service: the master's name, with Sentinel.
        path: of a Unix socket.
        username, password, db, tls: as Redis takes them.
        prefix: what every key begins with.
        timeout, connect_timeout: seconds.
        max_connections: at most so many to one server.
        ca_certs, cert_reqs: of TLS.
    """

    kind: str
    hosts: Sequence[tuple[str, int]]
    service: str
    path: str
    username: str | None
    password: str | None
    db: int
    tls: bool
    prefix: str
    timeout: float
    connect_timeout: float
    max_connections: int
    ca_certs: str | None
    cert_reqs: str

    def __repr__(self) -> str:
        return f"<{self.kind} {self.hosts or self.path}>"


def client_options(url: str) -> ClientOptions:
    """Read a URL of Redis.

    ``redis://``, ``unix:///path``, ``redis+sentinel://host:port,host:port/service``, ``redis+cluster://host:port,host:port``; with
    ``rediss`` for TLS; each with ``[user:password@]``, ``/db`` and ``?prefix=…&timeout=…``.

    Raises:
        ConfigError: lists everything that is wrong; the password is never shown.
    """
    parts = urlsplit(url)
    tls = parts.scheme.startswith("rediss")
    scheme = parts.scheme.replace("rediss", "redis", 1)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    login, _, address = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    path = [part for part in parts.path.split("/") if part]
    reader = _Reader(query, f"{parts.scheme}://{address}{parts.path}")
    reader.refuse_unknown(_OPTIONS)
    hosts = [] if scheme == "unix" else reader.hosts(address, 26379 if scheme == "redis+sentinel" else 6379)
    service = path.pop(0) if scheme == "redis+sentinel" and path else ""
    db = query.get("db") or (path[0] if path and scheme != "unix" else "0")
    if scheme == "redis+sentinel" and not service:
        reader.faults.append(f"{reader.shown}: name the service, such as redis+sentinel://host:26379/mymaster")
    prefix = query.get("prefix", "ts:")
    if "{" in prefix or "}" in prefix:
        reader.faults.append(f"{reader.shown}: a prefix cannot hold braces, they choose the slot on a cluster")
    options = ClientOptions(
        kind={"redis+sentinel": "sentinel", "redis+cluster": "cluster"}.get(scheme, "single"),
        hosts=hosts,
        service=service,
        path=unquote(parts.path) if scheme == "unix" else "",
        username=unquote(username) or query.get("username") or None,
        password=unquote(password) or None,
        db=int(reader.number("db", db, 0, 1 << 20)),
        tls=tls,
        prefix=prefix,
        timeout=reader.number("timeout", query.get("timeout", "4"), 0.01, 60),
        connect_timeout=reader.number("connect_timeout", query.get("connect_timeout", "2"), 0.01, 60),
        max_connections=int(reader.number("max_connections", query.get("max_connections", "50"), 1, 10_000)),
        ca_certs=query.get("ssl_ca_certs"),
        cert_reqs=query.get("ssl_cert_reqs", "required"),
    )
    if reader.faults:
        raise ConfigError(*reader.faults)
    return options


class _Reader:
    """Reads parts of a URL and gathers what is wrong with them."""

    def __init__(self, query: dict[str, str], shown: str) -> None:
        self.query = query
        self.shown = shown
        self.faults: list[str] = []

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Every option is one that there is."""
        self.faults += [f"{self.shown}: there is no option {name!r}" for name in self.query.keys() - set(known)]

    def number(self, name: str, text: str, low: float, high: float) -> float:
        """A number within bounds."""
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self.faults.append(f"{self.shown}: {name} is a number from {low:g} to {high:g}, not {text!r}")
            return low
        return value

    def hosts(self, address: str, port: int) -> list[tuple[str, int]]:
        """Addresses, comma separated."""
        found = []
        for part in address.split(",") if address else ["localhost"]:
            host, colon, given = part.rpartition(":") if not part.endswith("]") else (part, "", "")
            number = self.number("port", given, 1, 65535) if colon else port
            found.append(((host if colon else part).strip("[]") or "localhost", int(number)))
        return found
