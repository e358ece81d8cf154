"""One worker of several on the same port: our sessions, a sign-in that hashes a password, and the pauses of its event loop.

The garbage collector is set as in our server.

    PORT=8000 python -m benchmarks.worker memory://

It must not know how it is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from tornado.web import Application, RequestHandler

from benchmarks.application import Bare, Read, Table, Write
from benchmarks.application import LogIn as LogInWithoutPassword
from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.web.serve import tame_collector

_passwords = Passwords()


class SignIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        async with _passwords.hashing.turn(Client()) as turn:
            await _passwords.hash("correct horse battery staple", turn)
        await self.log_in("ada")


class Pauses:
    """Wakes up every millisecond and keeps the longest delay, in seconds."""

    longest = 0.0

    async def watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.monotonic() - before - 0.001)


class Pause(RequestHandler):
    """Answers the longest pause in milliseconds since the last answer."""

    def get(self) -> None:
        pauses: Pauses = self.settings["pauses"]
        self.write(f"{1000 * pauses.longest:.1f}")
        pauses.longest = 0.0


def _application(store: str, pauses: Pauses) -> Application:
    sessions = Sessions(store, config=SessionConfig(secret="x" * 40))
    table = Table(bare=Bare, read=Read, write=Write, login=LogInWithoutPassword, signin=SignIn, pause=Pause)
    return table.applied(sessions=sessions, pauses=pauses, log_function=lambda _: None)


async def main() -> None:
    pauses = Pauses()
    _application(sys.argv[1], pauses).listen(int(os.environ["PORT"]), "127.0.0.1", reuse_port=True)
    tame_collector()
    await pauses.watch()


if __name__ == "__main__":
    asyncio.run(main())
