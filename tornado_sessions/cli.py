"""Commands: reads the command line, calls the parts, prints. No rules of its own.

It must not know how settings are found; it is given what loads them.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tqdm import tqdm

from tornado_sessions.accounts.errors import AccountError
from tornado_sessions.accounts.stores import open_account_store
from tornado_sessions.admin.acts import Acts
from tornado_sessions.admin.audit import Actor
from tornado_sessions.app import Parts, ServerOptions, build, make_application
from tornado_sessions.errors import SessionError, StoreUnavailable
from tornado_sessions.migrate import copy_accounts, copy_sessions
from tornado_sessions.pages import Role
from tornado_sessions.record import Query, facts_of
from tornado_sessions.stores import open_store

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
    "processes",
    "trusted_proxies",
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
            return asyncio.run(_migrate(given))
        parts = build(settings.options())
        return asyncio.run(_with_parts(parts, lambda: _COMMANDS[given.command](parts, given)))
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
    create = commands.add_parser(
        "create-user", help="make an account; the password is asked for, or read from standard input"
    )
    create.add_argument("name")
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    create.add_argument("--email", help="default: NAME@localhost.localdomain")
    token = commands.add_parser("create-token", help="make an API token and print it once")
    token.add_argument("name")
    token.add_argument("--role", choices=["viewer", "operator"], default="operator")
    token.add_argument("--days", type=float, help="days after which it ends; default: when it is revoked")
    commands.add_parser("tokens", help="list API tokens, without their secrets")
    revoked = commands.add_parser("revoke-token", help="end an API token")
    revoked.add_argument("handle", help="as listed by tokens")
    shown = commands.add_parser("list", help="list live sessions")
    shown.add_argument("--user")
    shown.add_argument("--ip")
    shown.add_argument("--json", action="store_true", help="one JSON object a line")
    everybody = commands.add_parser("destroy-all", help="end everybody's sessions, at once")
    everybody.add_argument("--reason", required=True)
    one = commands.add_parser("destroy", help="end one session")
    one.add_argument("handle")
    user = commands.add_parser("destroy-user", help="end all sessions of a user")
    user.add_argument("name")
    commands.add_parser("prune", help="remove what has expired")
    commands.add_parser("check", help="check settings and store")
    move = commands.add_parser("migrate", help="copy live sessions and accounts to another store; may be run again")
    move.add_argument("source", metavar="FROM", help="a store's URL")
    move.add_argument("target", metavar="TO", help="a store's URL")
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
    asyncio.run(_greet(build(options), settings, token))
    sockets = bind_sockets(settings.port, settings.host)
    port = sockets[0].getsockname()[1]
    print(f"Serving on http://{settings.host}:{port} (Ctrl-C stops)", flush=True)
    parent = None
    if settings.processes > 1:
        parent = os.getpid()
        # The first process only waits for its workers; they see that it is gone, and stop as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        fork_processes(settings.processes)
    asyncio.run(_run(parts, sockets, parent))
    return 0


async def _greet(parts: Parts, settings: LoadedSettings, token: str) -> None:
    """Open every store once, so that what is wrong is told before anything listens; print the link while it is needed."""
    try:
        await parts.open()
        if not await parts.accounts.has_operator():
            link = f"http://{settings.host}:{settings.port}/setup/{token}"
            print(f"There is no operator yet. This link makes the first one, once: {link}", flush=True)
    finally:
        await parts.close()


async def _run(parts: Parts, sockets: list[Any], parent: int | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await parts.open()
    server = HTTPServer(make_application(parts), max_body_size=_MOST_BODY, max_buffer_size=2 * _MOST_BODY)
    server.add_sockets(sockets)
    while not stopping.is_set() and parent in (None, os.getppid()):
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK_FOR_PARENT if parent is not None else None)
    server.stop()
    await server.close_all_connections()
    await parts.close()


# --- commands --------------------------------------------------------------------------------------------------------


async def _create_user(parts: Parts, given: argparse.Namespace) -> int:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    email = given.email or f"{given.name}@localhost.localdomain"
    try:
        user = await parts.accounts.register(given.name, email, password, role=Role(given.role))
    except AccountError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{user.name} can log in ({user.role.value}).")
    return 0


async def _create_token(parts: Parts, given: argparse.Namespace) -> int:
    lifetime = None if given.days is None else given.days * 86400
    print(await parts.tokens.create(given.name, Role(given.role), lifetime))
    print("It is shown this once. Send it as: Authorization: Bearer TOKEN", file=sys.stderr)
    return 0


async def _tokens(parts: Parts, _given: argparse.Namespace) -> int:
    for token in await parts.tokens.all():
        ends = _utc(token.expires_at) if token.expires_at is not None else "when revoked"
        print(f"{token.handle}  {token.name:20}  {token.role.value:8}  made {_utc(token.created_at)}  ends {ends}")
    return 0


async def _revoke_token(parts: Parts, given: argparse.Namespace) -> int:
    revoked = await parts.tokens.revoke(given.handle)
    print("Revoked." if revoked else "There is no such token.")
    return 0 if revoked else 1


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"


async def _list(parts: Parts, given: argparse.Namespace) -> int:
    cursor = None
    while True:
        page = await parts.sessions.find(user=given.user, ip=given.ip, cursor=cursor, limit=500)
        for item in page.items:
            if given.json:
                print(msgspec.json.encode(facts_of(item)).decode())
                continue
            seen = _utc(item.last_seen_at)
            print(f"{item.handle}  {item.user or '-':20}  {item.ip:15}  {seen}  {item.user_agent[:60]}")
        cursor = page.next_cursor
        if cursor is None:
            return 0


async def _destroy(parts: Parts, given: argparse.Namespace) -> int:
    ended = await Acts(parts.sessions, parts.audit).end(Actor("cli"), [given.handle])
    print(f"Ended: {ended}")
    return 0 if ended else 1


async def _destroy_user(parts: Parts, given: argparse.Namespace) -> int:
    account = await parts.accounts.get(given.name)
    name = account.name if account is not None else given.name
    print(f"Ended: {await Acts(parts.sessions, parts.audit).end_user(Actor('cli'), name)}")
    return 0


async def _destroy_all(parts: Parts, given: argparse.Namespace) -> int:
    print(f"Ended: {await Acts(parts.sessions, parts.audit).end_everybody(Actor('cli'), given.reason)}")
    return 0


async def _prune(parts: Parts, _given: argparse.Namespace) -> int:
    print(f"Removed: {await parts.sessions.prune()}")
    return 0


async def _check(parts: Parts, _given: argparse.Namespace) -> int:
    await parts.sessions.ping()
    store = parts.sessions.store
    faults, warnings = await store.diagnose()
    if faults:
        raise StoreUnavailable(store.backend, "; ".join(faults))
    operator = "an operator exists" if await parts.accounts.has_operator() else "no operator yet"
    print("; ".join([f"ok: {store.backend}, {operator}", *(f"note: {warning}" for warning in warnings)]))
    return 0


async def _migrate(given: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        opened: list[Any] = []
        for make in (open_store, open_account_store):
            for url in (given.source, given.target):
                opened.append(make(url))
                stack.push_async_callback(opened[-1].close)
                await opened[-1].open()
        source, target, old_accounts, new_accounts = opened
        total = (await source.count(Query(now=time.time()))).total
        with tqdm(total=total, unit=" sessions", file=sys.stderr) as bar:
            sessions = await copy_sessions(source, target, bar.update)
        with tqdm(unit=" accounts", file=sys.stderr) as bar:
            accounts = await copy_accounts(old_accounts, new_accounts, bar.update)
    print(f"Copied: {sessions} sessions, {accounts} accounts. What was there already is left as it is.")
    return 0


_COMMANDS: dict[str, Callable[[Parts, argparse.Namespace], Awaitable[int]]] = {
    "create-user": _create_user,
    "create-token": _create_token,
    "tokens": _tokens,
    "revoke-token": _revoke_token,
    "list": _list,
    "destroy": _destroy,
    "destroy-user": _destroy_user,
    "destroy-all": _destroy_all,
    "prune": _prune,
    "check": _check,
}
