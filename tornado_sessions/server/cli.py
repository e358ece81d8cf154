"""The command line: flags → settings → serve, or one of the commands.

It must not know how settings are found; it is given what loads them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes

from tornado_sessions.errors import SessionError
from tornado_sessions.server.commands import COMMANDS, migrate
from tornado_sessions.server.commands.parsing import add_parsers
from tornado_sessions.server.parts import Parts, ServerOptions, build
from tornado_sessions.server.web.application import make_application

__all__ = ["main"]

_MOST_BODY = 64 * 1024
# Seconds between two looks of a worker at whether the first process is still there.
_LOOK_FOR_PARENT = 0.5
_FLAGS = (
    "store",
    "users",
    "host",
    "port",
    "secret",
    "idle_timeout",
    "absolute_timeout",
    "store_timeout",
    "processes",
    "trusted_proxies",
    "forwarded_header",
    "keep_audit_for",
)


class LoadedSettings(Protocol):
    """What the loader gives."""

    host: str
    port: int
    processes: int

    def options(self) -> ServerOptions:
        """What the application is built from."""


def main(arguments: Sequence[str], load: Callable[[dict[str, Any]], LoadedSettings]) -> int:
    """Run one command. Returns the exit code.

    Args:
        arguments: of the command line, without the program's name.
        load: settings from flags, environment and files.
    """
    given = _parser().parse_args(arguments)
    # What a driver meets comes to us as an error, and is told once, by us.
    logging.getLogger("redis").setLevel(logging.CRITICAL)
    flags = {name: getattr(given, name) for name in _FLAGS if getattr(given, name) is not None}
    try:
        settings = load(flags)
        if given.command == "serve":
            return _serve(settings)
        if given.command == "migrate":
            return asyncio.run(migrate(given.source, given.target))
        parts = build(settings.options())
        return asyncio.run(_with_parts(parts, lambda: COMMANDS[given.command](parts, given)))
    except SessionError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="server.py", description="Sessions for Tornado: the server and its commands.")
    for name in _FLAGS:
        parser.add_argument("--" + name.replace("_", "-"), help=f"also SESSIONS_{name.upper()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="serve")
    commands.add_parser("serve", help="serve (the default)")
    add_parsers(commands)
    return parser


async def _with_parts(parts: Parts, run: Callable[[], Awaitable[int]]) -> int:
    try:
        await parts.open()
        return await run()
    finally:
        await parts.close()


# --- serving ---------------------------------------------------------------------------------------------------------


def _serve(settings: LoadedSettings) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = settings.options()
    parts = build(options)
    token = parts.setup.make()
    sockets = bind_sockets(settings.port, settings.host)
    port = sockets[0].getsockname()[1]
    asyncio.run(_greet(build(options), f"http://{settings.host}:{port}/setup/{token}"))
    print(f"Serving on http://{settings.host}:{port} (Ctrl-C stops)", flush=True)
    parent = None
    if settings.processes > 1:
        parent = os.getpid()
        # The first process only waits for its workers; they see that it is gone, and stop as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        fork_processes(settings.processes)
    asyncio.run(_run(parts, sockets, parent))
    return 0


async def _greet(parts: Parts, link: str) -> None:
    """Open every store once, so that what is wrong is told before anything is served; print the link while it is needed."""
    try:
        await parts.open()
        if not await parts.accounts.has_operator():
            print(f"There is no operator yet. This link makes the first one, once: {link}", flush=True)
    finally:
        await parts.close()


async def _run(parts: Parts, sockets: list[Any], parent: int | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await parts.open()
    await parts.start()
    server = HTTPServer(make_application(parts), max_body_size=_MOST_BODY, max_buffer_size=2 * _MOST_BODY)
    server.add_sockets(sockets)
    while not stopping.is_set() and parent in (None, os.getppid()):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK_FOR_PARENT if parent is not None else None)
    server.stop()
    await server.close_all_connections()
    await parts.close()
