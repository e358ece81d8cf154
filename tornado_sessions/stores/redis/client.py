"""A URL → a client of one server, of Sentinel's master or of a cluster; commands and scripts, with Redis' errors as ours.

It must not know what is stored. A command that writes is sent once: whether a lost answer stands for a done deed is unknown, and
doing it twice would count twice. One that reads is tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from zlib import crc32

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from tornado_sessions.errors import ConfigError, StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Client", "ClientOptions", "Script", "bucket_of", "client_options"]

T = TypeVar("T")

#: Hash tags, and so slots, over which a cluster spreads sessions.
BUCKETS = 16
_READ_ATTEMPTS = 3
_BACKOFF = 0.05
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


class Script:
    """Lua files of a package, one after another; sent by their hash, and whole where the server has forgotten them."""

    def __init__(self, package: str | None, *names: str) -> None:
        self.text = "\n".join((files(package or "") / name).read_text("utf8") for name in names)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Client:
    """A connection to Redis, whatever stands behind it.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.is_cluster = options.kind == "cluster"
        self._redis: Any = None
        self._sentinels: list[Any] = []

    async def open(self) -> None:
        """Make the client; it connects at its first command, a cluster's now. Harmless when open."""
        if self._redis is None:
            self._redis = self._connect()
            if self.is_cluster:
                # Once, before commands come in numbers: each of them would begin it again.
                try:
                    await translated(self._redis.initialize)
                except BaseException:
                    await self.close()
                    raise

    async def close(self) -> None:
        """Let go of every connection; harmless when closed."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose(**({} if self.is_cluster else {"close_connection_pool": True}))
        sentinels, self._sentinels = self._sentinels, []
        for sentinel in sentinels:
            await sentinel.aclose()

    def _connect(self) -> Any:
        given = self.options
        never = Retry(NoBackoff(), 0)
        common: dict[str, Any] = {
            "username": given.username,
            "password": given.password,
            "socket_timeout": given.timeout,
            "socket_connect_timeout": given.connect_timeout,
            "retry": never,
            "protocol": 2,
        }
        if given.tls:
            common |= {"ssl_ca_certs": given.ca_certs, "ssl_cert_reqs": given.cert_reqs}
        if given.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in given.hosts]
            return RedisCluster(startup_nodes=nodes, max_connections=given.max_connections, ssl=given.tls, **common)
        if given.kind == "sentinel":
            asked = {"socket_timeout": given.connect_timeout, "socket_connect_timeout": given.connect_timeout}
            sentinel = Sentinel(list(given.hosts), sentinel_kwargs=asked, db=given.db, **common)  # type: ignore[no-untyped-call]
            # A list of our own: redis-py loses one of its own where two look for the master at once.
            self._sentinels = list(sentinel.sentinels)
            return sentinel.master_for(given.service, max_connections=given.max_connections)
        address: dict[str, Any] = {"host": given.hosts[0][0], "port": given.hosts[0][1]} if given.hosts else {}
        kind: type[Any] = SSLConnection if given.tls else Connection
        if given.path:
            kind, address = UnixDomainSocketConnection, {"path": given.path}
        # One that waits for a free connection: too many requests at once are slow, and not an outage.
        pool = BlockingConnectionPool(
            max_connections=given.max_connections,
            timeout=given.timeout,
            connection_class=kind,
            db=given.db,
            **address,
            **common,
        )
        return Redis(connection_pool=pool)

    @property
    def redis(self) -> Any:
        """redis-py's client. Raises ``StoreUnavailable`` when it is closed."""
        if self._redis is None:
            raise StoreUnavailable("redis", "the store is closed")
        return self._redis

    async def read(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run commands that change nothing, in one round trip for each node; tried again after a lost connection."""
        for attempt in range(_READ_ATTEMPTS - 1):
            try:
                return await translated(lambda: self._send(commands))
            except StoreUnavailable:
                await asyncio.sleep(_BACKOFF * (attempt + random.random()))
        return await translated(lambda: self._send(commands))

    async def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        if len(commands) == 1:
            return [await self.redis.execute_command(*commands[0])]
        pipeline = self.redis.pipeline() if self.is_cluster else self.redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()  # type: ignore[no-any-return]

    async def write(self, *commands: Sequence[Any]) -> list[Any]:
        """Run commands once, in one round trip for each node."""
        return await translated(lambda: self._send(commands))

    async def info(self) -> dict[str, Any]:
        """What the server says of itself; of a cluster, any node."""
        options = {"target_nodes": RedisCluster.RANDOM} if self.is_cluster else {}
        return await translated(lambda: self.redis.info(**options))

    async def run(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run a script once, on keys of one bucket, or of any where there is no cluster."""
        return await translated(lambda: self._evaluate(script, keys, arguments))

    async def _evaluate(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        try:
            return await self.redis.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            # The server was restarted or flushed: it has not run, so it may be sent again, with its text.
            return await self.redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

    def groups(self, names: Iterable[str]) -> list[list[int]]:
        """The places of these names, in groups that one command can carry: all at once, or by bucket on a cluster."""
        listed = list(names)
        if not self.is_cluster:
            return [list(range(len(listed)))] if listed else []
        by_bucket: dict[str, list[int]] = {}
        for place, name in enumerate(listed):
            by_bucket.setdefault(bucket_of(name), []).append(place)
        return list(by_bucket.values())

    def subscriber(self) -> Redis:
        """A client to listen with: a cluster tells what is published to every node, so any of them will do."""
        if not self.is_cluster:
            return self.redis  # type: ignore[no-any-return]
        node = random.choice(self.redis.get_nodes() or [ClusterNode(*self.options.hosts[0])])
        given = self.options
        return Redis(
            host=node.host,
            port=node.port,
            username=given.username,
            password=given.password,
            ssl=given.tls,
            socket_connect_timeout=given.connect_timeout,
            protocol=2,
        )


@lru_cache(100_000)
def bucket_of(handle: str) -> str:
    """The hash tag of a session, two hexadecimal digits."""
    return f"{crc32(handle.encode()) % BUCKETS:02x}"


async def translated(call: Callable[[], Awaitable[T]]) -> T:
    """Run a call of redis-py with its errors as ours, said once for all."""
    try:
        return await call()
    except StoreError:
        raise
    except NoPermissionError as error:
        remedy = "the user needs ~PREFIX* &PREFIX* +@read +@write +@scripting +@pubsub +@connection +info +cluster"
        raise StoreUnavailable("redis", f"{error} ({remedy})") from None
    except AuthenticationError as error:
        raise StoreUnavailable(
            "redis", f"{error} (write redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST)"
        ) from None
    except ResponseError as error:
        raise _from_server(str(error)) from None
    # AttributeError: redis-py loses a connection under its own hands while a cluster changes its shape.
    except (RedisError, RedisClusterException, OSError, TimeoutError, AttributeError) as error:
        raise StoreUnavailable("redis", str(error) or type(error).__name__) from None


def _from_server(message: str) -> StoreError:
    """A server's refusal: WRONGTYPE means that the keys are somebody else's; anything else passes, such as OOM or READONLY."""
    kind = StoreMismatch if message.startswith("WRONGTYPE") else StoreUnavailable
    return kind("redis", message.partition(" script:")[0][:300])
