"""A Redis client for a single server, the master of Sentinels, or a cluster; Redis' errors become ``StoreError``.

It must not know what is stored. Reads are retried. A write is sent only once: if its answer is lost, it may have run, and
running it again could apply it twice.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar
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
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from tornado_sessions.drivers.redis.url import ClientOptions
from tornado_sessions.errors import StoreDenied, StoreError, StoreMismatch, StoreUnavailable

__all__ = ["BUCKETS", "Client", "Script", "WritesRefused", "bucket_of", "client_arguments", "error_of", "translated"]

T = TypeVar("T")

#: The number of hash tags, and therefore of slots, over which a cluster spreads our keys.
BUCKETS = 16
_READ_ATTEMPTS = 3
_BACKOFF = 0.05
_REFUSES_WRITES = re.compile(r"\b(READONLY|MISCONF|OOM|NOREPLICAS)\b")
# redis-py's Sentinel client turns READONLY into a connection error with this text, so that it asks the Sentinels again.
_DEMOTED = "previous master is now a slave"


class WritesRefused(StoreUnavailable):
    """The server answers but accepts no writes: it is a replica, is full, cannot save, or has too few replicas."""


class Script:
    """A Lua script: files of a package, concatenated in order."""

    def __init__(self, package: str | None, *names: str) -> None:
        self.text = "\n".join((files(package or "") / name).read_text("utf8") for name in names)
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def client_arguments(options: ClientOptions) -> dict[str, Any]:
    """Return redis-py's arguments for a connection to any server of a URL.

    Connections to the server, cluster nodes, Sentinels and of the subscriber all use them: none can lack TLS or password.
    """
    return {
        "username": options.username,
        "password": options.password,
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **({"ssl": True, **options.ssl} if options.tls else {}),
    }


class Client:
    """A connection to Redis.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.is_cluster = options.kind == "cluster"
        self._redis: Any = None
        self._sentinels: list[Any] = []

    async def open(self) -> None:
        """Create the client; do nothing if it is open. Only a cluster connects now, others at their first command."""
        if self._redis is not None:
            return
        connect = {"cluster": self._connect_cluster, "sentinel": self._connect_sentinel, "single": self._connect_single}
        self._redis = connect[self.options.kind](client_arguments(self.options))
        if self.is_cluster:
            # Discover the nodes once, instead of in each of several concurrent first commands.
            try:
                await translated(self._redis.initialize)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close all connections; do nothing if it is closed."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose(**({} if self.is_cluster else {"close_connection_pool": True}))
        sentinels, self._sentinels = self._sentinels, []
        for sentinel in sentinels:
            await sentinel.aclose()

    def _connect_cluster(self, arguments: dict[str, Any]) -> Any:
        nodes = [ClusterNode(host, port) for host, port in self.options.hosts]
        return RedisCluster(startup_nodes=nodes, max_connections=self.options.max_connections, **arguments)

    def _connect_sentinel(self, arguments: dict[str, Any]) -> Any:
        options = self.options
        asked = {**arguments, "socket_timeout": options.connect_timeout, "redis_connect_func": _log_in_to_sentinel}
        sentinel = Sentinel(list(options.hosts), sentinel_kwargs=asked, db=options.db, **arguments)  # type: ignore[no-untyped-call]
        # A copy, to close them all later: redis-py reorders its list during discovery, and two concurrent discoveries can
        # lose an entry.
        self._sentinels = list(sentinel.sentinels)
        return sentinel.master_for(options.service, max_connections=options.max_connections)

    def _connect_single(self, arguments: dict[str, Any]) -> Any:
        options = self.options
        if options.path:
            kind: type[Any] = UnixDomainSocketConnection
            arguments["path"] = options.path
        else:
            kind = SSLConnection if arguments.pop("ssl", False) else Connection
            arguments["host"], arguments["port"] = options.hosts[0]
        # This pool waits for a free connection, so that too many concurrent requests make the store slow, not unavailable.
        pool = BlockingConnectionPool(
            max_connections=options.max_connections,
            timeout=options.timeout,
            connection_class=kind,
            db=options.db,
            **arguments,
        )
        return Redis(connection_pool=pool)

    @property
    def redis(self) -> Any:
        """redis-py's client; raises ``StoreUnavailable`` if it is closed."""
        if self._redis is None:
            raise StoreUnavailable("redis", "the store is closed")
        return self._redis

    async def read(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run read-only commands in one round trip per node; retry if the server is unavailable."""
        for attempt in range(_READ_ATTEMPTS - 1):
            try:
                return await translated(lambda: self._send(commands))
            except StoreUnavailable:
                await asyncio.sleep(_BACKOFF * (attempt + random.random()))
        return await translated(lambda: self._send(commands))

    async def write(self, *commands: Sequence[Any]) -> list[Any]:
        """Run commands in one round trip per node, without retries."""
        return await translated(lambda: self._send(commands))

    async def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        if len(commands) == 1:
            return [await self.redis.execute_command(*commands[0])]
        pipeline = self.redis.pipeline() if self.is_cluster else self.redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()  # type: ignore[no-any-return]

    async def run(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run a script, without retries. On a cluster, all keys must be in one bucket."""
        return await translated(lambda: self._evaluate(script, keys, arguments))

    async def _evaluate(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        try:
            return await self.redis.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            # The server does not have the script, for example after a restart. It has not run, so sending its text is safe.
            return await self.redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

    async def info(self) -> dict[str, Any]:
        """Return the server's INFO; on a cluster, that of a random node."""
        options = {"target_nodes": RedisCluster.RANDOM} if self.is_cluster else {}
        return await translated(lambda: self.redis.info(**options))

    def groups(self, names: Iterable[str]) -> list[list[int]]:
        """Return the positions of these names, grouped so that one command may name each group: by bucket on a cluster."""
        listed = list(names)
        if not self.is_cluster:
            return [list(range(len(listed)))] if listed else []
        by_bucket: dict[str, list[int]] = {}
        for place, name in enumerate(listed):
            by_bucket.setdefault(bucket_of(name), []).append(place)
        return list(by_bucket.values())

    def subscriber(self) -> Redis:
        """Return a client for SUBSCRIBE. On a cluster it is new, and connects to a random node: nodes forward messages."""
        if not self.is_cluster:
            return self.redis  # type: ignore[no-any-return]
        node = random.choice(self.redis.get_nodes() or [ClusterNode(*self.options.hosts[0])])
        # A subscriber waits for messages of any age, so its socket has no timeout.
        return Redis(host=node.host, port=node.port, **{**client_arguments(self.options), "socket_timeout": None})


async def _log_in_to_sentinel(connection: Any) -> None:
    """Authenticate with the server's password; retry without one, since Sentinels often have none."""
    try:
        await connection.on_connect()
    except AuthenticationError:
        connection.username = connection.password = None
        await connection.on_connect()


@lru_cache(100_000)
def bucket_of(name: str) -> str:
    """Return the hash tag for a name: two hexadecimal digits."""
    return f"{crc32(name.encode('utf-8', 'replace')) % BUCKETS:02x}"


async def translated(call: Callable[[], Awaitable[T]]) -> T:
    """Await a call of redis-py, translating its errors.

    Raises:
        WritesRefused: the server answers, but accepts no writes.
        StoreDenied: the server refuses the user, the password or the permissions.
        StoreUnavailable: the call failed for another reason, but may succeed later.
        StoreMismatch: it will not: a key is damaged or belongs to other software.
    """
    try:
        return await call()
    except StoreError:
        raise
    except NoPermissionError as error:
        remedy = "the user needs ~PREFIX* &PREFIX* +@read +@write +@scripting +@pubsub +@connection +info +cluster"
        raise StoreDenied("redis", f"{error} ({remedy})") from None
    except AuthenticationError as error:
        remedy = "write redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST"
        raise StoreDenied("redis", f"{error} ({remedy})") from None
    except (ReadOnlyError, OutOfMemoryError) as error:
        raise WritesRefused("redis", _shortened(str(error))) from None
    except ResponseError as error:
        raise error_of(str(error)) from None
    # AttributeError: while the topology of a cluster changes, redis-py drops connections that are still in use.
    # TypeError, ValueError, LookupError: redis-py does not validate replies to its own commands.
    except (RedisError, RedisClusterException, OSError, AttributeError, TypeError, ValueError, LookupError) as error:
        kind = WritesRefused if _DEMOTED in str(error) else StoreUnavailable
        raise kind("redis", str(error) or type(error).__name__) from None


def error_of(message: str) -> StoreError:
    """Return the exception for a server's error message.

    ``WRONGTYPE`` (a key belongs to other software) and ``MISMATCH`` (a script has read damaged data) are permanent.
    """
    if "WRONGTYPE" in message or "MISMATCH" in message:
        return StoreMismatch("redis", _shortened(message))
    kind = WritesRefused if _REFUSES_WRITES.search(message) else StoreUnavailable
    return kind("redis", _shortened(message))


def _shortened(message: str) -> str:
    return message.partition(" script:")[0][:300]
