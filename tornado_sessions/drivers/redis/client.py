"""A Redis client for a single server, the master of Sentinels, or a cluster; Redis' errors become ``StoreError``.

It must not know what is stored. Reads are retried. A write is sent only once: if its answer is lost, it may have run, and
running it again could apply it twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar
from zlib import crc32

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from tornado_sessions.drivers.redis.errors import CONNECTION_CUT, UNNAMED_PERMISSION, translated
from tornado_sessions.drivers.redis.sentinels import Sentinels, log_in_to_sentinel
from tornado_sessions.drivers.redis.tls import certificate_ends, check_files
from tornado_sessions.drivers.redis.url import ClientOptions
from tornado_sessions.drivers.redis.wire import Wire
from tornado_sessions.errors import StoreUnavailable

__all__ = ["Client", "Script", "client_arguments"]

T = TypeVar("T")

_READ_ATTEMPTS = 3
_BACKOFF = 0.05


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
        #: For commands and scripts, unless it is a cluster.
        self._wire: Wire | None = None
        self._sentinels: list[Any] = []
        self._has_answered = False
        # On a cluster each bucket needs its own run, and redis-py fails instead of waiting if all connections are in use.
        self._runs = asyncio.Semaphore(max(1, options.max_connections // 2))

    async def open(self) -> None:
        """Create the client; do nothing if it is open. Only a cluster connects now, others at their first command.

        Raises:
            ConfigError: a file of a TLS option cannot be used.
            StoreUnavailable: no node of the cluster answers.
        """
        if self._redis is not None:
            return
        check_files(self.options.ssl)
        connect = {"cluster": self._connect_cluster, "sentinel": self._connect_sentinel, "single": self._connect_single}
        self._redis = connect[self.options.kind](client_arguments(self.options))
        if not self.is_cluster:
            self._wire = Wire(self._redis.connection_pool.make_connection, self.options.timeout)
        else:
            # Discover the nodes once, instead of in each of several concurrent first commands.
            try:
                await self._call(self._redis.initialize)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close all connections; do nothing if it is closed."""
        redis, self._redis = self._redis, None
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()
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
        asked = {**arguments, "socket_timeout": options.connect_timeout}
        if options.sentinel_password is not None:
            asked |= {"username": options.sentinel_username, "password": options.sentinel_password}
        else:
            asked["redis_connect_func"] = log_in_to_sentinel
        sentinel = Sentinels(list(options.hosts), sentinel_kwargs=asked, db=options.db, **arguments)  # type: ignore[no-untyped-call]
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

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await a call of redis-py, translating its errors."""
        try:
            answer = await translated(call)
        except StoreUnavailable as error:
            if self._has_answered or not CONNECTION_CUT.search(error.why):
                raise
            # It never worked, so this is no outage: the server may have refused the kind of connection.
            remedy = "if the server asks for a client certificate, set ssl_certfile and ssl_keyfile"
            remedy = remedy if self.options.tls else "if the server expects TLS, write rediss instead of redis"
            raise StoreUnavailable("redis", f"{error.why} ({remedy})") from None
        self._has_answered = True
        return answer

    async def read(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run read-only commands in one round trip per node; retry if the server is unavailable."""
        for attempt in range(_READ_ATTEMPTS - 1):
            try:
                return await self._call(lambda: self._send(commands))
            except StoreUnavailable:
                await asyncio.sleep(_BACKOFF * (attempt + random.random()))
        return await self._call(lambda: self._send(commands))

    async def write(self, *commands: Sequence[Any]) -> list[Any]:
        """Run commands in one round trip per node, without retries."""
        return await self._call(lambda: self._send(commands))

    async def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        if len(commands) == 1:
            return [await self._one(commands[0])]
        if self._wire is not None:
            return await self._wire.ask_all(commands)
        pipeline = self.redis.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()  # type: ignore[no-any-return]

    async def _one(self, command: Sequence[Any]) -> Any:
        if self._wire is not None:
            return await self._wire.ask(command)
        return await self.redis.execute_command(*command)

    async def run(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run a script, without retries. On a cluster, all keys must be in one bucket."""
        try:
            return await self._call(lambda: self._evaluate(script, keys, arguments))
        except StoreUnavailable as error:
            if UNNAMED_PERMISSION in error.why:
                await self.check_permissions()
            raise

    async def check_permissions(self) -> None:
        """Raise ``StoreUnavailable``, naming the permission, if the user may not read, write or publish.

        Redis before 7.2 does not say which command of a script it refused, so harmless commands are sent one by one.
        """
        key, channel = f"{self.options.prefix}probe", f"{self.options.prefix}events"
        for command in (("GET", key), ("DEL", key), ("PUBLISH", channel, "")):
            await self.write(command)

    async def _evaluate(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        if self.is_cluster:
            async with self._runs:
                return await self._evaluate_now(script, keys, arguments)
        return await self._evaluate_now(script, keys, arguments)

    async def _evaluate_now(self, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        try:
            return await self._one(("EVALSHA", script.sha, len(keys), *keys, *arguments))
        except NoScriptError:
            # The server does not have the script, for example after a restart. It has not run, so sending its text is safe.
            return await self._one(("EVAL", script.text, len(keys), *keys, *arguments))

    async def infos(self) -> dict[str, dict[str, Any]]:
        """Return the INFO of the server, or of every node of a cluster, by ``host:port``; of a single server by ``""``."""
        if not self.is_cluster:
            return {"": await self._call(self.redis.info)}
        # Replicas too: each may become a master, with its own settings.
        nodes = self.redis.get_nodes()
        found = await asyncio.gather(*(self._call(partial(self.redis.info, target_nodes=node)) for node in nodes))
        return {node.name: info for node, info in zip(nodes, found, strict=True)}

    async def certificate_ends(self) -> list[tuple[str, datetime]]:
        """Return until when certificates are valid, with the address or file of each; nothing without TLS."""
        return await certificate_ends(self.options) if self.options.tls else []

    def bucket_of(self, name: str) -> str:
        """Return the hash tag for a name: at least two hexadecimal digits."""
        return f"{_checksum(name) % self.options.buckets:02x}"

    def groups(self, names: Iterable[str]) -> list[list[int]]:
        """Return the positions of these names, grouped so that one command may name each group: by bucket on a cluster."""
        listed = list(names)
        if not self.is_cluster:
            return [list(range(len(listed)))] if listed else []
        by_bucket: dict[str, list[int]] = {}
        for place, name in enumerate(listed):
            by_bucket.setdefault(self.bucket_of(name), []).append(place)
        return list(by_bucket.values())

    def subscriber(self) -> Redis:
        """Return a client for SUBSCRIBE. On a cluster it is new, and connects to a random node: nodes forward messages."""
        if not self.is_cluster:
            return self.redis  # type: ignore[no-any-return]
        node = random.choice(self.redis.get_nodes() or [ClusterNode(*self.options.hosts[0])])
        # A subscriber waits for messages of any age, so its socket has no timeout.
        return Redis(host=node.host, port=node.port, **{**client_arguments(self.options), "socket_timeout": None})


@lru_cache(100_000)
def _checksum(name: str) -> int:
    return crc32(name.encode("utf-8", "replace"))
