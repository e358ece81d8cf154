"""A process of its own that counts in one session: URL, handle, secret's hash, how often."""

from __future__ import annotations

import asyncio
import sys

from support.passwords import SECRET

from tornado_sessions import Sessions
from tornado_sessions.cookie import Presented
from tornado_sessions.request import RequestInfo


async def main(url: str, handle: str, secret_hash: str, times: int) -> None:
    sessions = Sessions(url, secret=SECRET)
    presented = Presented(handle, bytes.fromhex(secret_hash), "", signed_by_newest=True)

    async def count() -> None:
        request = await sessions.fetch(presented, RequestInfo(sessions.clock()))
        assert request.session.user == "ada"
        request.session.increment("n")
        await sessions.commit(request)

    for _ in range(times // 10):
        await asyncio.gather(*(count() for _ in range(10)))
    await sessions.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
