"""``Site``: the objects that all handlers of an application share. It must not know handlers or templates."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.draining import Draining
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.origins import origin_of

__all__ = ["MAX_QUERIES", "OnNewDevice", "Place", "Site", "log_new_device"]

#: Maximum number of concurrent operators' queries per process.
MAX_QUERIES = 8

#: Called with the account, the IP address and the name of the device.
OnNewDevice = Callable[[User, str, str], Awaitable[None]]
#: Returns the location of an IP address as text.
Place = Callable[[str], str]

logger = logging.getLogger("tornado_sessions.security")


async def log_new_device(user: User, ip: str, device: str) -> None:
    """Log a sign-in from a new device."""
    logger.info("%s signed in with a new device: %s from %s", user.name, device, ip)


@dataclass(kw_only=True)
class Site:
    """The objects that all handlers share, stored as the application's setting ``site``.

    Args:
        parts: the server's objects.
        place, on_new_device: see ``make_application``.
        query_slots: limits the number of concurrent operators' queries.
        streams: the open event streams.
        load: what this process is working on.
        draining: whether this process is about to stop.
    """

    parts: Parts
    place: Place
    on_new_device: OnNewDevice
    query_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_QUERIES))
    streams: set[object] = field(default_factory=set)
    load: Load = field(default_factory=Load)
    draining: Draining = field(default_factory=Draining)

    def __post_init__(self) -> None:
        #: The public origin, such as ``https://example.com``; empty if it is not configured.
        self.origin = origin_of(self.parts.options.public_url or "")
        secret = self.parts.sessions.config.keys("secret")[0]
        #: Signs form tokens and sign-in tickets.
        self.form_key = hmac.new(secret.encode(), b"tornado_sessions xsrf", sha256).digest()
