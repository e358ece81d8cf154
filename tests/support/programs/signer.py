"""A process of its own in which one user signs in several times at once: URL, how often.

Each line of its standard input is a policy, a limit and a user. It answers "ready", waits for another line, so that several
processes begin together, and prints what each sign-in came to.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from support.passwords import SECRET

from tornado_sessions import SessionConfig, Sessions, TooManySessions
from tornado_sessions.request import RequestInfo


def limited(url: str, policy: Any, limit: int) -> Sessions:
    config = SessionConfig(secret=SECRET, max_sessions_per_user=limit, when_exceeded=policy, store_timeout=30)
    return Sessions(url, config=config)


async def sign_in(sessions: Sessions, user: str) -> str:
    request = sessions.new_request_session(RequestInfo(sessions.clock()))
    try:
        await sessions.log_in(request, user)
    except TooManySessions:
        return "refused"
    return "in"


async def main(url: str, times: int) -> None:
    made: dict[tuple[str, str], Sessions] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        policy, limit, user = line.split()
        if (policy, limit) not in made:
            made[policy, limit] = limited(url, policy, int(limit))
        sessions = made[policy, limit]
        await sessions.open()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await asyncio.gather(*(sign_in(sessions, user) for _ in range(times))), flush=True)
    for sessions in made.values():
        await sessions.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
