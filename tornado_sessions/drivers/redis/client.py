"""A client of one server, of Sentinel's master or of a cluster: commands and scripts, with Redis' errors as ours.

It must not know what is stored. A command that writes is sent once: when its answer is lost nobody knows whether it ran, and a
second run would count twice. A command that reads is retried.
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
from tornado_sessions.errors import StoreError, StoreMismatch, StoreUnavailable

__all__ = ["BUCKETS", "Client", "Script", "WritesRefused", "bucket_of", "error_of", "translated"]

T = TypeVar("T")

#: Hash tags, and so slots, over which a cluster spreads sessions.
BUCKETS = 16
_READ_ATTEMPTS = 3
_BACKOFF = 0.05
_REFUSES_WRITES = re.compile(r"\b(READONLY|MISCONF|OOM|NOREPLICAS)\b")
# What redis-py's Sentinel client makes of READONLY: a lost connection, so that it asks the Sentinels again.
_DEMOTED = "previous master is now a slave"


class WritesRefused(StoreUnavailable):
    """The server answers but accepts no writes: it is a replica, is full, cannot save, or has too few replicas."""


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
    return f"{crc32(handle.encode('utf-8', 'replace')) % BUCKETS:02x}"


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
    except (ReadOnlyError, OutOfMemoryError) as error:
        raise WritesRefused("redis", _shortened(str(error))) from None
    except ResponseError as error:
        raise error_of(str(error)) from None
    # AttributeError: redis-py drops a connection that it still uses while a cluster changes its shape.
    # TypeError, ValueError, LookupError: it trusts the shape of what a server answers to its own questions.
    except (RedisError, RedisClusterException, OSError, AttributeError, TypeError, ValueError, LookupError) as error:
        kind = WritesRefused if _DEMOTED in str(error) else StoreUnavailable
        raise kind("redis", str(error) or type(error).__name__) from None


def error_of(message: str) -> StoreError:
    """The error that a server's message stands for.

    ``WRONGTYPE`` means that somebody else's data is under our keys, ``MISMATCH`` is what our scripts say of damaged data. Anything
    else may pass.
    """
    if "WRONGTYPE" in message or "MISMATCH" in message:
        return StoreMismatch("redis", _shortened(message))
    kind = WritesRefused if _REFUSES_WRITES.search(message) else StoreUnavailable
    return kind("redis", _shortened(message))


def _shortened(message: str) -> str:
    return message.partition(" script:")[0][:300]
