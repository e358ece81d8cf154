"""Read the options of a Redis client from a URL.

It must not know connections. ``client`` converts the options into arguments of redis-py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from tornado_sessions.drivers.store_url import StoreUrl

__all__ = ["DEFAULT_BUCKETS", "ClientOptions", "client_options"]

_SSL = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
_OPTIONS = (
    "prefix",
    "buckets",
    "db",
    "timeout",
    "connect_timeout",
    "max_connections",
    "username",
    *_SENTINEL_LOGIN,
    *_SSL,
)
#: The number of buckets unless the URL sets another, and the maximum: each list reads all of them.
DEFAULT_BUCKETS, MAX_BUCKETS = 16, 256
_SENTINEL, _CLUSTER = "redis+sentinel", "redis+cluster"


class ClientOptions(NamedTuple):
    """How to reach a Redis server.

    Attributes:
        kind: ``single``, ``sentinel`` or ``cluster``.
        hosts: addresses of the server, the Sentinels, or some nodes of the cluster.
        service: the name of the master in the configuration of the Sentinels.
        path: the Unix socket of a single server.
        username, password: used for servers and cluster nodes, and for Sentinels unless they have a login of their own.
        sentinel_username, sentinel_password: the login of the Sentinels; ``None`` for that of the server.
        db: the number of the database.
        tls: whether connections are encrypted.
        ssl: TLS options with redis-py's names, such as ``ssl_ca_certs``.
        prefix: the start of every key.
        buckets: the number of hash tags, and therefore of slots, over which a cluster spreads the sessions.
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
    sentinel_username: str | None
    sentinel_password: str | None
    db: int
    tls: bool
    ssl: Mapping[str, Any]
    prefix: str
    buckets: int
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
    if scheme != _SENTINEL:
        read.faults += [f"{name} needs redis+sentinel://" for name in _SENTINEL_LOGIN if name in read.query]
    is_encrypted = read.parts.scheme.startswith("rediss")
    options = ClientOptions(
        kind={_SENTINEL: "sentinel", _CLUSTER: "cluster"}.get(scheme, "single"),
        hosts=[] if is_socket else _hosts(read, 26379 if scheme == _SENTINEL else 6379),
        service=service,
        path=unquote(read.parts.path) if is_socket else "",
        username=unquote(username) or read.query.get("username") or None,
        password=unquote(password) or None,
        sentinel_username=read.query.get("sentinel_username") or None,
        sentinel_password=read.query.get("sentinel_password") or None,
        db=read.check_whole("db", read.query.get("db") or (path[0] if path else "0"), 0, 1 << 20),
        tls=is_encrypted,
        ssl=_ssl_options(read, is_encrypted=is_encrypted),
        prefix=prefix,
        buckets=read.whole("buckets", 1, MAX_BUCKETS, DEFAULT_BUCKETS),
        timeout=read.number("timeout", 0.01, 60, 4),
        connect_timeout=read.number("connect_timeout", 0.01, 60, 2),
        max_connections=read.whole("max_connections", 1, 10_000, 50),
    )
    read.raise_faults()
    return options


def _ssl_options(read: StoreUrl, *, is_encrypted: bool) -> dict[str, Any]:
    """Return the TLS options; record a fault for each that would have no effect."""
    found: dict[str, Any] = {name: read.query[name] for name in _SSL if name in read.query}
    if not is_encrypted:
        # Without this, a certificate in the URL would suggest that the connection is encrypted.
        read.faults += [f"{name} needs TLS: write rediss instead of redis" for name in found]
    if "ssl_keyfile" in found and "ssl_certfile" not in found:
        read.faults.append("ssl_keyfile needs ssl_certfile")
    read.choice("ssl_cert_reqs", ("required", "optional", "none"), "required")
    if "ssl_check_hostname" in found:
        found["ssl_check_hostname"] = read.choice("ssl_check_hostname", ("true", "false"), "true") == "true"
    return found


def _hosts(read: StoreUrl, default_port: int) -> list[tuple[str, int]]:
    """Return comma-separated addresses as host and port."""
    found = []
    for part in (read.address or "localhost").split(","):
        # An IPv6 address without a port, such as [::1], ends with a bracket: its last colon is no separator.
        host, colon, port = part.rpartition(":") if not part.endswith("]") else (part, "", "")
        number = read.check_whole("port", port, 1, 65535) if colon else default_port
        found.append(((host if colon else part).strip("[]") or "localhost", number))
    return found
