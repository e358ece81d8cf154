"""A program that opens its sessions in one place and uses them in another: another event loop, or a process forked since.

    python other_loop_or_process.py URL PLACE…

For each place, it prints as a line of JSON what each use said there, and whether everything still works where it was opened.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions import SessionError, Sessions
from tornado_sessions.request import RequestInfo, RequestSession

NOW = 1_800_000_000.0


class Program:
    """Sessions with one user signed in."""

    def __init__(self, url: str) -> None:
        self.sessions = Sessions(url, secret="x" * 40, clock=lambda: NOW)
        self.request: RequestSession | None = None

    async def start(self) -> None:
        self.request = self.sessions.new_request_session(RequestInfo(NOW))
        await self.sessions.log_in(self.request, "ada")

    def uses(self) -> dict[str, Callable[[], Awaitable[object]]]:
        sessions, request = self.sessions, self.request
        assert request is not None
        assert request.presented is not None
        presented, handle = request.presented, request.session.handle or ""

        async def listen() -> None:
            await anext(sessions.events())

        async def change() -> None:
            request.session["a"] = 1
            await sessions.commit(request)

        return {
            "open": sessions.open,
            "ping": sessions.ping,
            "find": sessions.find,
            "count": sessions.count,
            "inspect": lambda: sessions.inspect(handle),
            "destroy": lambda: sessions.destroy(handle),
            "destroy_user": lambda: sessions.destroy_user("ada"),
            "destroy_where": lambda: sessions.destroy_where(user="ada"),
            "end_all": sessions.end_all,
            "prune": sessions.prune,
            "events": listen,
            "fetch": lambda: sessions.fetch(presented, RequestInfo(NOW)),
            "reload": lambda: sessions.reload(request),
            "rotate": lambda: sessions.rotate(request, at_once=True),
            "commit": change,
            "log_in": lambda: sessions.log_in(sessions.new_request_session(RequestInfo(NOW)), "bob"),
            "close": sessions.close,
        }

    async def said(self) -> dict[str, str]:
        """What each use says here."""
        said = {}
        for name, use in self.uses().items():
            try:
                await use()
            except SessionError as error:
                said[name] = f"{type(error).__name__}: {error}"
            except Exception as error:  # noqa: BLE001 - to be reported
                said[name] = f"not ours: {error!r}"
            else:
                said[name] = "worked"
        return said

    async def still_works(self) -> bool:
        """Whether everything works where it was opened, with exactly the session of before."""
        assert self.request is not None
        self.request.session["b"] = 2
        await self.sessions.commit(self.request)
        found = [item.user for item in (await self.sessions.find()).items]
        return found == ["ada"] and await self.sessions.values_of(self.request.session.handle or "") in (
            {"b": 2},
            {"a": 1, "b": 2},
        )


def forked(run: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What a child process says; it never returns here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(run()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    os.waitpid(child, 0)
    return json.loads(said)  # type: ignore[no-any-return]


def second_loop(program: Program, loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    return asyncio.run(program.said())


def loop_of_a_thread(program: Program, loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    said: dict[str, str] = {}
    thread = threading.Thread(target=lambda: said.update(asyncio.run(program.said())))
    thread.start()
    thread.join()
    return said


def fork_with_the_same_loop(program: Program, loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    return forked(lambda: loop.run_until_complete(program.said()))


def fork_with_its_own_loop(program: Program, loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    return forked(lambda: asyncio.new_event_loop().run_until_complete(program.said()))


def fork_inside_a_coroutine(program: Program, loop: asyncio.AbstractEventLoop) -> dict[str, str]:
    def go_on() -> dict[str, str]:
        # In the child no loop runs, although this code was called by one: each use must fail before it waits for anything.
        coroutine: Any = program.said()
        try:
            coroutine.send(None)
        except StopIteration as stopped:
            return dict(stopped.value)
        return {"use": "waits"}

    async def inside() -> dict[str, str]:
        return forked(go_on)

    return loop.run_until_complete(inside())


PLACES = {
    place.__name__: place
    for place in (
        second_loop,
        loop_of_a_thread,
        fork_with_the_same_loop,
        fork_with_its_own_loop,
        fork_inside_a_coroutine,
    )
}


def after_close(url: str) -> dict[str, object]:
    """Open, close and open again on another loop."""
    program = Program(url)

    async def once() -> None:
        await program.start()
        await program.sessions.close()

    asyncio.run(once())

    async def again() -> list[str | None]:
        found = [item.user for item in (await program.sessions.find()).items]
        await program.start()
        await program.sessions.close()
        return found

    return {"found": asyncio.run(again()), "and again": asyncio.run(again())}


def without_close(url: str) -> dict[str, object]:
    """What a second ``asyncio.run`` says when the first one never closed."""
    program = Program(url)
    asyncio.run(program.start())
    return {"said": asyncio.run(program.said())}


def elsewhere(place: str, url: str) -> dict[str, object]:
    """Open here, use elsewhere, then go on here."""
    program, loop = Program(url), asyncio.new_event_loop()
    loop.run_until_complete(program.start())
    said = PLACES[place](program, loop)
    works = loop.run_until_complete(program.still_works())
    # The next place begins with an empty store.
    loop.run_until_complete(program.sessions.end_all())
    loop.run_until_complete(program.sessions.close())
    loop.close()
    return {"said": said, "works": works}


if __name__ == "__main__":
    _, _url, *_places = sys.argv
    for _place in _places:
        _told = {"after_close": after_close, "without_close": without_close}.get(_place)
        print(json.dumps(_told(_url) if _told is not None else elsewhere(_place, _url)), flush=True)
    # Threads and sockets of a loop that is gone are the test's subject; nothing waits for them.
    os._exit(0)
