"""aiohttp-session on Redis."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp_session import get_session, new_session, session_middleware
from aiohttp_session.redis_storage import RedisStorage
from redis.asyncio import Redis

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def bare(_: web.Request) -> web.Response:
    return web.Response(text="ada")


async def log_in(request: web.Request) -> web.Response:
    session = await new_session(request)
    session["name"] = "ada"
    session["n"] = 0
    return web.Response(text="ada")


async def read(request: web.Request) -> web.Response:
    session = await get_session(request)
    return web.Response(text=session.get("name", "nobody"))


async def write(request: web.Request) -> web.Response:
    session = await get_session(request)
    session["n"] += 1
    return web.Response(text=str(session["n"]))


def application() -> web.Application:
    """Return the application. Its middleware surrounds only the routes that use a session."""
    middleware = session_middleware(RedisStorage(Redis.from_url(os.environ["REDIS_URL"]), max_age=1800))

    def with_session(handler: Handler) -> Handler:
        return partial(middleware, handler=handler)

    app = web.Application()
    app.add_routes([web.get("/bare", bare)])
    app.add_routes([web.get(f"/{name}", with_session(route)) for name, route in ROUTES.items()])
    return app


ROUTES = {"login": log_in, "read": read, "write": write}

if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)
