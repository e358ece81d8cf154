"""Starlette with starsessions on Redis, run by uvicorn with uvloop and httptools."""

from __future__ import annotations

import os

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starsessions import SessionMiddleware, load_session
from starsessions.stores.redis import RedisStore


async def bare(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ada")


async def log_in(request: Request) -> PlainTextResponse:
    await load_session(request)
    request.session.update(name="ada", n=0)
    return PlainTextResponse("ada")


async def read(request: Request) -> PlainTextResponse:
    await load_session(request)
    return PlainTextResponse(request.session.get("name", "nobody"))


async def write(request: Request) -> PlainTextResponse:
    await load_session(request)
    request.session["n"] += 1
    return PlainTextResponse(str(request.session["n"]))


store = RedisStore(connection=Redis.from_url(os.environ["REDIS_URL"]), prefix="starlette:")
sessions = Middleware(SessionMiddleware, store=store, lifetime=1800, cookie_https_only=False)
routes = [Route("/login", log_in), Route("/read", read), Route("/write", write)]
app = Starlette(routes=[Route("/bare", bare), Mount("/", routes=routes, middleware=[sessions])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="critical", access_log=False)
