"""A process that writes sessions until it is killed; prints each acknowledged write."""

from __future__ import annotations

import asyncio
import sys

from tornado_sessions.record import Outcome
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import change, create


async def main(url: str, name: str) -> None:
    store = open_store(url)
    await store.open()
    handle, number = f"h{name}", 0
    await store.save([create(handle, data={"n": b"0"})])
    while True:
        number += 1
        answers = await store.save([change(handle, set={"n": b"%d" % number}), create(f"{handle}x{number}")])
        if answers == [Outcome.SAVED] * 2:
            print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
