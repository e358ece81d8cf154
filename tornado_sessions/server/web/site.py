"""``Site``: what the handlers of one application share, and their way to the parts of the server.

It must not know handlers or templates.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts

__all__ = ["MAX_QUERIES", "OnNewDevice", "Place", "Site", "log_new_device"]

#: Store queries for pages of operators that one process runs at a time.
MAX_QUERIES = 8

#: Called with the account, the IP address and the device in words.
OnNewDevice = Callable[[User, str, str], Awaitable[None]]
#: Returns where an IP address is, in words.
Place = Callable[[str], str]

logger = logging.getLogger("tornado_sessions.security")


async def log_new_device(user: User, ip: str, device: str) -> None:
    """Write a sign-in from a new device to the log."""
    logger.info("new device of %s: %s from %s", user.name, device, ip)


@dataclass(kw_only=True)
class Site:
    """What the handlers of one application share; the application keeps it as its setting ``site``.

    Args:
        parts: what the server works with.
        place: describes where an IP address is. Pages call it once a row, so it must not block.
        on_new_device: called at a sign-in from a device that the user has not used lately.
        query_slots: limits how many queries pages of operators run at a time.
        streams: open event streams.
    """

    parts: Parts
    place: Place
    on_new_device: OnNewDevice
    query_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_QUERIES))
    streams: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        secret = self.parts.sessions.config.keys("secret")[0]
        #: Signs form tokens and sign-in tickets.
        self.form_key = hmac.new(secret.encode(), b"tornado_sessions xsrf", sha256).digest()
