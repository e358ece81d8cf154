"""What one writes by hand with Tornado: an id in a signed cookie, and JSON in Redis through redis-py."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from tornado.web import RequestHandler

from benchmarks.application import Table

LIFETIME = 1800


class Bare(RequestHandler):
    def get(self) -> None:
        self.write("ada")


class WithSession(RequestHandler):
    async def load(self) -> tuple[str, dict[str, Any]]:
        signed = self.get_signed_cookie("sid")
        if signed is None:
            return "", {}
        key = "hand:" + signed.decode()
        stored = await self.settings["redis"].get(key)
        return key, {} if stored is None else json.loads(stored)

    async def save(self, key: str, data: dict[str, Any]) -> None:
        await self.settings["redis"].setex(key, LIFETIME, json.dumps(data))


class LogIn(WithSession):
    async def get(self) -> None:
        token = uuid4().hex
        await self.save("hand:" + token, {"name": "ada", "n": 0})
        self.set_signed_cookie("sid", token, httponly=True)
        self.write("ada")


class Read(WithSession):
    async def get(self) -> None:
        _, data = await self.load()
        self.write(data.get("name", "nobody"))


class Write(WithSession):
    async def get(self) -> None:
        key, data = await self.load()
        data["n"] += 1
        await self.save(key, data)
        self.write(str(data["n"]))


async def main() -> None:
    client = Redis.from_url(os.environ["REDIS_URL"])
    table = Table(bare=Bare, login=LogIn, read=Read, write=Write)
    app = table.applied(redis=client, cookie_secret="x" * 40, log_function=lambda _: None)
    app.listen(int(os.environ["PORT"]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
