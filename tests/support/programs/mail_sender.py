"""A process that sends the mails that are due once.

Its argument is JSON: the options of a server, and how many seconds its clock is ahead.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from argon2.profiles import CHEAPEST

from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions


async def main(options: dict[str, Any], ahead: float) -> None:
    parts = Parts(ServerOptions(**options), passwords=Passwords(CHEAPEST), clock=lambda: time.time() + ahead)
    assert parts.mail is not None
    async with parts.opened():
        await parts.mail.outbox.deliver()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
