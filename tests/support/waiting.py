"""Waiting for a condition, with a deadline, instead of for an amount of time.

The only place of the tests that lets time go by.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import redis

_Found = TypeVar("_Found")
# A server that is starting refuses connections, or answers with an error.
_NOT_YET = (OSError, redis.RedisError)
# Seconds between two looks.
_INTERVAL = 0.02


def wait_until(condition: Callable[[], _Found], what: str, seconds: float = 30.0) -> _Found:
    """Return what the condition returns, as soon as that is true.

    Args:
        condition: called until it returns something true; errors of a server that is still starting count as false.
        what: named in the error, such as "the server".
        seconds: how long to wait at most.

    Raises:
        AssertionError: the time was over first.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except _NOT_YET:
            pass
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        threading.Event().wait(_INTERVAL)


def wait_for_server(answers: Callable[[], object], what: str, log: Path, stop: Callable[[], object]) -> None:
    """Wait until a server that was just started answers. If it does not, end it, so that it disturbs no other test.

    Args:
        answers: whether it does; errors count as no answer.
        what: named in the error.
        log: the file of its log, which becomes part of the error.
        stop: ends it.

    Raises:
        AssertionError: it did not answer in time.
    """
    try:
        wait_until(answers, what)
    except AssertionError as error:
        error.add_note(log.read_text(errors="replace"))
        stop()
        raise


async def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Do the same as `wait_until` without blocking the event loop; the condition may be a coroutine function."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = condition()
        if await found if inspect.isawaitable(found) else found:
            return
        assert loop.time() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(_INTERVAL)


async def one_turn(turns: int = 1) -> None:
    """Let the event loop run everything that is ready, so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)
