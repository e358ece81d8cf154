"""Run the server: bind, fork the workers, and answer requests until a signal arrives. It must not know routes or pages."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from socket import socket

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.netutil import bind_sockets
from tornado.process import fork_processes

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

__all__ = ["serve"]

#: Maximum size of a request's body, in bytes.
_MAX_BODY = 64 * 1024
#: Seconds between two checks by a worker that its parent process is alive.
_PARENT_CHECK_INTERVAL = 0.5


def serve(options: ServerOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: an option is invalid.
        StoreError: a store cannot be used. No request has been served.
        OSError: the address cannot be bound.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parts = Parts(options)
    # Create the link before the workers are forked, so that it works in each of them.
    setup_token = parts.setup.make()
    sockets = bind_sockets(options.port, options.host)
    url = f"http://{options.host}:{sockets[0].getsockname()[1]}"
    # Use separate parts here, because open connections and threads do not survive the fork.
    asyncio.run(_try_stores(Parts(options), f"{url}/setup/{setup_token}"))
    print(f"Serving on {url} (Ctrl-C stops)", flush=True)
    parent = None
    if options.processes > 1:
        parent = os.getpid()
        # The parent process only waits for its workers, which stop when they notice that it has ended.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        fork_processes(options.processes)
    asyncio.run(_answer(parts, options, sockets, parent))


async def _try_stores(parts: Parts, setup_link: str) -> None:
    # Open all stores once, so that faults are reported before the server accepts requests.
    async with parts.opened():
        if not await parts.accounts.has_operator():
            print(f"There is no operator yet. Create the first admin account, once, at {setup_link}", flush=True)


def _make_server(application: HTTPServerConnectionDelegate, _options: ServerOptions) -> HTTPServer:
    """Return the HTTP server, without sockets. The only place that makes one and sets its limits."""
    return HTTPServer(application, max_body_size=_MAX_BODY, max_buffer_size=2 * _MAX_BODY)


async def _answer(parts: Parts, options: ServerOptions, sockets: list[socket], parent: int | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with parts.opened():
        await parts.start()
        server = _make_server(make_application(parts), options)
        server.add_sockets(sockets)
        while not stopping.is_set() and parent in (None, os.getppid()):
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _PARENT_CHECK_INTERVAL if parent is not None else None)
        server.stop()
        await server.close_all_connections()
