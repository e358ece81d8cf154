"""Run the server: open the stores, bind, start the workers, and answer requests until a signal arrives.

It must not know routes or pages.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from socket import socket

from tornado.netutil import bind_sockets
from tornado.web import Application

from tornado_sessions.errors import StoreDenied, StoreUnavailable
from tornado_sessions.server.metrics import be_process, shared_by_processes
from tornado_sessions.server.operations.places import Place
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.health import HEALTH
from tornado_sessions.server.web.http_server import SessionServer
from tornado_sessions.server.web.limits import Limits, connections_for, raise_descriptor_limit
from tornado_sessions.server.web.server_site import Demo, ServerSite
from tornado_sessions.server.web.static_files import templates
from tornado_sessions.server.web.workers import STOP_SIGNALS, StopSignals, Workers, end_at_once

__all__ = ["serve", "tame_collector"]

logger = logging.getLogger("tornado_sessions.server")

#: Seconds between two checks by a worker that its parent process is alive.
_PARENT_CHECK_INTERVAL = 0.5
#: Seconds until the next attempt to open the stores, from the first to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
#: Seconds that closing the stores may take, and that a worker may take altogether after it has drained.
_CLOSING, _ENDING = 8.0, 12.0
# Thresholds of the garbage collector: new objects per collection, then collections of a generation per collection of the next.
_COLLECT_AFTER = (3_000, 5, 400)


def serve(options: ServerOptions, demo: Demo | None = None, place: Place = lambda _ip: "") -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP, then stop without failing a request. A second signal ends the process at once.

    Args:
        options: the settings.
        demo: fills the stores of a demo; one process only.
        place: see ``make_application``.

    Returns:
        The exit code: 0, or another one if a worker process did not stop as asked.

    Raises:
        ConfigError: an option is invalid.
        StoreError: a store cannot be used. No request has been served.
        OSError: the address cannot be bound.
    """
    signals = StopSignals()
    # Separate parts, because open connections and threads do not survive a fork.
    setup_path = asyncio.run(_prepare(Parts(options), options)) if demo is None else None
    # Once for all workers: compiled at the first page, they would hold up the event loop of each.
    templates()
    # From the next line on, connections wait in the queue of the socket.
    signals.must_drain = True
    # Bind after the stores have answered: until then, a balancer's connection is refused, and it asks another server.
    try:
        sockets = bind_sockets(options.port, options.host)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {options.host} port {options.port}: {error.strerror}") from None
    listening = _address_of(options.host, sockets)
    if setup_path is not None:
        link = options.base_url(listening) + setup_path
        print(f"There is no operator yet. Create the first admin account, once, at {link}", flush=True)
    print(f"Serving on {listening}{options.base_path} (Ctrl-C stops)", flush=True)
    if options.processes == 1:
        asyncio.run(_answer(options, sockets, signals, None, demo, place))
        return 0
    parent = os.getpid()

    def work(number: int) -> None:
        be_process(f"{parent}-{number}")
        asyncio.run(_answer(options, sockets, signals, parent, None, place))

    workers = Workers(
        options.processes,
        work,
        signals,
        options.drain_delay + options.drain_timeout + _ENDING,
    )
    with shared_by_processes():
        return workers.run(lambda: _close(sockets))


def _close(sockets: Sequence[socket]) -> None:
    # Only the workers can accept connections, so none may come to the parent's copy after they have closed theirs.
    for each in sockets:
        each.close()


def _address_of(host: str, sockets: Sequence[socket]) -> str:
    """Return the URL of the server on this machine."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing is bound here
        # No browser can open "every address".
        host = "localhost"
    port = sockets[0].getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _prepare(parts: Parts, options: ServerOptions) -> str | None:
    """Open all stores once, so that faults are reported before the server accepts requests. Return the path of the setup link."""
    async with _opened(parts, options.start_timeout, asyncio.Event()):
        try:
            # An admin with a password could not sign in.
            token = None if options.oidc_only else await parts.setup.make()
        except StoreUnavailable as error:
            # A store that is full or read-only still serves readers.
            logger.warning("there is no link for the first admin, because the store accepts no writes: %s", error)
            return None
    return token and f"/setup/{token}"


@asynccontextmanager
async def _opened(parts: Parts, timeout: float, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Open all stores, and close them at the end of the block. Wait for stores that are away, unless the server is stopping.

    Raises:
        StoreError: a store is still away after this time, in seconds, or waiting for it is in vain.
    """
    try:
        await _open_patiently(parts, timeout, stopping)
        yield
    finally:
        try:
            async with asyncio.timeout(_CLOSING):
                await parts.close()
        except TimeoutError:
            logger.warning("a store did not close within %g s", _CLOSING)


async def _open_patiently(parts: Parts, timeout: float, stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + timeout, _FIRST_PAUSE
    while True:
        try:
            return await parts.open()
        except StoreDenied:
            raise
        except StoreUnavailable as error:
            left = deadline - loop.time()
            if left <= 0 or stopping.is_set():
                raise
            logger.warning("waiting for the store, at most %.0f s more: %s", left, error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _make_server(application: Application, options: ServerOptions) -> SessionServer:
    """Return the HTTP server, without sockets. The only place that makes one and sets its limits."""
    site: ServerSite = application.settings["site"]
    limits = Limits(
        connections=connections_for(options.max_connections, raise_descriptor_limit()),
        requests=options.max_requests,
        is_secure=site.origin.startswith("https:") or site.parts.sessions.config.secure is True,
    )
    return SessionServer(
        site.draining.watch(application),
        limits=limits,
        load=site.load,
        proxies=site.parts.sessions.proxies,
        people=site.people_seen,
        health={*HEALTH, *map(site.url, HEALTH)},
    )


async def _answer(
    options: ServerOptions,
    sockets: list[socket],
    signals: StopSignals,
    parent: int | None,
    demo: Demo | None,
    place: Place,
) -> None:
    """Answer requests until a signal arrives, or the parent process ends; then drain."""
    stopping = asyncio.Event()
    _handle_signals(stopping, signals, is_worker=parent is not None)
    parts = Parts(options)
    try:
        async with _opened(parts, options.start_timeout, stopping):
            # Before the background work, whose first counts would be of empty stores.
            finish = await demo.prepare(parts) if demo is not None else None
            await parts.start()
            application = make_application(parts, place=place, demo=demo)
            site: ServerSite = application.settings["site"]
            server = _make_server(application, options)
            tame_collector()
            server.add_sockets(sockets)
            await _wait_for_the_end(stopping, parent)
            # A worker that stops alone, for example by ``kill``, is replaced.
            await _drain(site, server, sockets, lambda: parent == os.getppid() and not signals.are_for_all)
            if finish is not None:
                await finish()
    except StoreUnavailable as error:
        if not stopping.is_set():
            raise
        logger.warning("stopped before the store could be reached: %s", error)
    if parent is not None:
        # An event loop closes its pipe for signals before it removes their handlers. The parent may signal just then.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def _drain(site: ServerSite, server: SessionServer, sockets: list[socket], is_shared: Callable[[], bool]) -> None:
    options = site.parts.options
    logger.info("stopping: waiting for the requests in progress, at most %g s", options.drain_timeout)
    site.parts.accounts.stop_waiting()
    await site.draining.drain(
        server, sockets, delay=options.drain_delay, timeout=options.drain_timeout, is_shared=is_shared
    )


def tame_collector() -> None:
    """Keep the garbage collector from stopping the event loop: a full collection of all modules and connections takes 0.1 s.

    What exists before the first request stays for good. The rest is mostly freed by its count of references, so full collections
    are needed seldom: with these thresholds once a minute in a flood of connections, otherwise every few hours.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    sys.setswitchinterval(0.0005)


async def _wait_for_the_end(stopping: asyncio.Event, parent: int | None) -> None:
    while not stopping.is_set() and parent in (None, os.getppid()):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _PARENT_CHECK_INTERVAL if parent is not None else None)


def _handle_signals(stopping: asyncio.Event, signals: StopSignals, *, is_worker: bool) -> None:
    def stop(number: int) -> None:
        # The parent of a worker decides what a second signal means. systemd and others send the first one to all processes, so it
        # arrives here twice.
        if stopping.is_set() and not is_worker:
            end_at_once(number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM,) if is_worker else STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    # Those that came before these handlers.
    for early in signals.received:
        stop(early)
