"""A process of its own in which one user signs in several times at once: URL, policy, limit, user, how often.

It waits for a line on its standard input, so that several processes begin together, and prints what each sign-in came to.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from support.passwords import SECRET

from tornado_sessions import SessionConfig, Sessions, TooManySessions
from tornado_sessions.request import RequestInfo


async def main(url: str, policy: Any, limit: int, users: list[str], times: int) -> None:
    config = SessionConfig(secret=SECRET, max_sessions_per_user=limit, when_exceeded=policy, store_timeout=30)
    sessions = Sessions(url, config=config)
    await sessions.open()

    async def sign_in(user: str) -> str:
        request = sessions.new_request_session(RequestInfo(sessions.clock()))
        try:
            await sessions.log_in(request, user)
        except TooManySessions:
            return "refused"
        return "in"

    for user in users:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await asyncio.gather(*(sign_in(user) for _ in range(times))), flush=True)
    await sessions.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(main(given[0], given[1], int(given[2]), given[3].split(","), int(given[4])))
