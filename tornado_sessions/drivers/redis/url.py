"""Read the options of a Redis client from a URL.

It must not know connections. ``client`` converts the options into arguments of redis-py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from tornado_sessions.drivers.store_url import StoreUrl

__all__ = ["ClientOptions", "client_options"]

_SSL = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_OPTIONS = ("prefix", "db", "timeout", "connect_timeout", "max_connections", "username", *_SSL)
_SENTINEL, _CLUSTER = "redis+sentinel", "redis+cluster"


class ClientOptions(NamedTuple):
    """How to reach a Redis server.

    Attributes:
        kind: ``single``, ``sentinel`` or ``cluster``.
        hosts: addresses of the server, the Sentinels, or some nodes of the cluster.
        service: the name of the master in the configuration of the Sentinels.
        path: the Unix socket of a single server.
        username, password: used for servers, cluster nodes and Sentinels.
        db: the number of the database.
        tls: whether connections are encrypted.
        ssl: TLS options with redis-py's names, such as ``ssl_ca_certs``.
        prefix: the start of every key.
        timeout: how long to wait for an answer, in seconds.
        connect_timeout: how long to wait for a connection, or for an answer of a Sentinel, in seconds.
        max_connections: the maximum number of connections to one server.
    """

    kind: str
    hosts: Sequence[tuple[str, int]]
    service: str
    path: str
    username: str | None
    password: str | None
    db: int
    tls: bool
    ssl: Mapping[str, str]
    prefix: str
    timeout: float
    connect_timeout: float
    max_connections: int

    def __repr__(self) -> str:
        return f"<{self.kind} {self.hosts or self.path}>"


def client_options(url: str) -> ClientOptions:
    """Read a Redis URL.

    Args:
        url: ``redis://``, ``unix:///path``, ``redis+sentinel://host:port,host:port/service`` or
            ``redis+cluster://host:port,host:port``, with ``rediss`` for TLS. Each may have ``user:password@``, ``/db`` and options
            such as ``?prefix=app:&timeout=2&ssl_ca_certs=ca.pem``.

    Raises:
        ConfigError: the URL has faults. The message lists all of them and never shows the password.
    """
    read = StoreUrl(url, _OPTIONS)
    scheme = read.parts.scheme.replace("rediss", "redis", 1)
    username, _, password = read.login.partition(":")
    is_socket = scheme == "unix"
    path = [] if is_socket else [part for part in read.parts.path.split("/") if part]
    service = path.pop(0) if scheme == _SENTINEL and path else ""
    if scheme == _SENTINEL and not service:
        read.faults.append("name the service, such as redis+sentinel://host:26379/mymaster")
    prefix = read.query.get("prefix", "ts:")
    if "{" in prefix or "}" in prefix:
        read.faults.append("a prefix cannot contain braces, since they choose the slot on a cluster")
    read.choice("ssl_cert_reqs", ("required", "optional", "none"), "required")
    options = ClientOptions(
        kind={_SENTINEL: "sentinel", _CLUSTER: "cluster"}.get(scheme, "single"),
        hosts=[] if is_socket else _hosts(read, 26379 if scheme == _SENTINEL else 6379),
        service=service,
        path=unquote(read.parts.path) if is_socket else "",
        username=unquote(username) or read.query.get("username") or None,
        password=unquote(password) or None,
        db=int(read.check_number("db", read.query.get("db") or (path[0] if path else "0"), 0, 1 << 20)),
        tls=read.parts.scheme.startswith("rediss"),
        ssl={name: read.query[name] for name in _SSL if name in read.query},
        prefix=prefix,
        timeout=read.number("timeout", 0.01, 60, 4),
        connect_timeout=read.number("connect_timeout", 0.01, 60, 2),
        max_connections=int(read.number("max_connections", 1, 10_000, 50)),
    )
    read.raise_faults()
    return options


def _hosts(read: StoreUrl, default_port: int) -> list[tuple[str, int]]:
    """Return comma-separated addresses as host and port."""
    found = []
    for part in (read.address or "localhost").split(","):
        # An IPv6 address without a port, such as [::1], ends with a bracket: its last colon is no separator.
        host, colon, port = part.rpartition(":") if not part.endswith("]") else (part, "", "")
        number = read.check_number("port", port, 1, 65535) if colon else default_port
        found.append(((host if colon else part).strip("[]") or "localhost", int(number)))
    return found
