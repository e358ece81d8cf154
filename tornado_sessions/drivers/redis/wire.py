"""One pipelined connection to a Redis server: a command is sent at once, even while others wait for their answers.

redis-py finds the server, connects, encrypts and authenticates. A ``Wire`` then takes over the transport of its connection, because
redis-py's own exchange of a command and its answer takes five times as long. Answers arrive in the order of the commands, so
a caller that stops waiting loses only its own. It must not know what is stored, or which commands may be repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError
from typing_extensions import override

from tornado_sessions.drivers.redis.errors import WritesRefused, error_of
from tornado_sessions.errors import StoreUnavailable

__all__ = ["Wire"]

#: Maximum number of commands without an answer.
_MOST_WAITING = 10_000
#: Maximum number of bytes that the server has not taken yet; a command that saves a batch of sessions may have megabytes.
_MOST_UNSENT = 64 << 20
#: Maximum number of bytes of an answer: 500 records of half a megabyte each. A session has 64 KiB unless ``max_size`` is changed.
_MOST_IN_ANSWER = 256 << 20
_NOTHING = object()


class _Waiting(NamedTuple):
    """A command without an answer: who waits for it, and until when by the event loop's clock."""

    answer: asyncio.Future[Any]
    due: float


class _Connection(asyncio.Protocol):
    """A connection of redis-py whose transport was taken over.

    Args:
        connection: redis-py's, connected and idle.
        timeout: how long to wait for an answer, in seconds.
    """

    def __init__(self, connection: Any, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._timeout = timeout
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        #: Bytes that have arrived since the last complete answer.
        self._unread = 0
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # redis-py has no public name for it. A version that moves it fails the first command, and the tests.
        self._transport: Any = connection._writer.transport
        self._former = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(_MOST_UNSENT)
        self.is_lost = False

    def ask(self, *packed: bytes) -> list[asyncio.Future[Any]]:
        """Send commands, and return the futures of their answers; a refused command has an error as its answer.

        Raises:
            RedisConnectionError: the connection is lost, or too many commands wait.
        """
        waiting = self._waiting
        if self.is_lost:
            raise RedisConnectionError("Connection closed by server.")
        if len(waiting) + len(packed) > _MOST_WAITING:
            raise RedisConnectionError(f"{_MOST_WAITING} commands have no answer yet")
        due = self._loop.time() + self._timeout
        found = []
        for _ in packed:
            answer: asyncio.Future[Any] = self._loop.create_future()
            found.append(answer)
            waiting.append(_Waiting(answer, due))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._check_deadline)
        self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        return found

    @override
    def pause_writing(self) -> None:
        """Close a connection whose server no longer reads."""
        self.close(RedisTimeoutError("Timeout writing to socket"))

    def _check_deadline(self) -> None:
        # All commands have the same timeout, so the first that waits is the first that is due: one timer is enough.
        self._timer = None
        if self._waiting and self._waiting[0].due > self._loop.time():
            self._timer = self._loop.call_at(self._waiting[0].due, self._check_deadline)
        elif self._waiting:
            self.close(RedisTimeoutError("Timeout reading from the server"))

    @override
    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        try:
            self._reader.feed(data)
            while (found := self._reader.gets()) is not _NOTHING:
                self._unread = 0
                answer = self._waiting.popleft().answer
                # Already done if its caller stopped waiting.
                if not answer.done():
                    answer.set_result(found)
        except (hiredis.HiredisError, IndexError, MemoryError) as error:
            self.close(RedisConnectionError(f"the server broke the protocol: {error}"))
        if self._unread > _MOST_IN_ANSWER:
            self.close(RedisConnectionError(f"an answer has more than {_MOST_IN_ANSWER} bytes"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._former.connection_lost(exc)
        self.close(RedisConnectionError(str(exc) if exc else "Connection closed by server."))

    def close(self, error: Exception) -> None:
        """Close the connection and fail all pending commands with the error. Do nothing if it is closed."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        for waiting in self._waiting:
            if not waiting.answer.done():
                # Each gets an exception of its own, because raising it adds a traceback.
                waiting.answer.set_exception(type(error)(*error.args))
        self._waiting.clear()

    async def closed(self) -> None:
        """Let redis-py forget the connection, too."""
        await self._connection.disconnect(nowait=True)


class Wire:
    """Keeps one connection, and replaces it when it is lost.

    Args:
        make: returns a connection of redis-py that is not connected yet.
        timeout: how long to wait for an answer, in seconds.
    """

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._current: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def ask(self, command: Sequence[Any]) -> Any:
        """Send one command, and return its answer.

        Raises:
            RedisError, OSError: the connection failed, or the server did not answer in time. The command may have run.
            NoScriptError: the server does not have the script.
            StoreError: the server refused the command, which has not run; see ``error_of``.
        """
        connection = self._current
        if connection is None or connection.is_lost:
            connection = await self._connected()
        answer = await connection.ask(hiredis.pack_command(tuple(command)))[0]
        if isinstance(answer, hiredis.ReplyError):
            raise _refusal(connection, answer)
        return answer

    async def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands at once, and return their answers. Raises the same errors, that of the first command refused."""
        connection = self._current
        if connection is None or connection.is_lost:
            connection = await self._connected()
        answers = await asyncio.gather(*connection.ask(*(hiredis.pack_command(tuple(each)) for each in commands)))
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise _refusal(connection, answer)
        return answers

    async def _connected(self) -> _Connection:
        # All callers share one attempt, which continues if one of them is cancelled.
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            # Retrieve the exception, so that asyncio does not log it as unseen if every caller was cancelled.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if not connecting.cancelled():
                raise
            # The store was closed; the request itself was not cancelled.
            raise StoreUnavailable("redis", "the store is closed") from None

    async def _connect(self) -> _Connection:
        if self._current is not None:
            await self._current.closed()
        connection = self._make()
        try:
            await connection.connect()
            self._current = _Connection(connection, self._timeout)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._connecting = None
        return self._current

    async def close(self) -> None:
        """Close the connection, or stop the attempt to make one. Pending calls get ``StoreUnavailable``."""
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        current, self._current = self._current, None
        if current is not None:
            current.close(RedisConnectionError("the store is closed"))
            await current.closed()


def _refusal(connection: _Connection, answer: Exception) -> Exception:
    """Return the error of a refused command."""
    text = str(answer).removeprefix("ERR ")
    if text.startswith("NOSCRIPT"):
        return NoScriptError(text)
    error = error_of(text)
    if isinstance(error, WritesRefused):
        # The server may have become a replica: the next command looks for the master again.
        connection.close(RedisConnectionError(error.why))
    return error
