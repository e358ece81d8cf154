"""``Site``: the objects that all handlers of an application share. It must not know handlers or templates."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations.places import Place
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.draining import Draining
from tornado_sessions.server.web.form_tokens import FormTokens
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.origins import origin_of
from tornado_sessions.server.web.people_seen import PeopleSeen
from tornado_sessions.server.web.shares import Shares

__all__ = [
    "DASHBOARD",
    "MAX_EXPORTS",
    "MAX_QUERIES",
    "MAX_STREAMS",
    "MAX_STREAMS_OF_PERSON",
    "Demo",
    "OnNewDevice",
    "Site",
    "log_new_device",
]

#: Maximum number of concurrent operators' queries per process.
MAX_QUERIES = 8
#: Maximum number of concurrent exports per process, and of one person: each may read for minutes.
MAX_EXPORTS, MAX_EXPORTS_OF_PERSON = 2, 1
#: Maximum number of open event streams per process, and of one person. Browsers open six connections to a host, over HTTP/1.1.
MAX_STREAMS, MAX_STREAMS_OF_PERSON = 20, 5

_COOKIE_PREFIX = re.compile("^__(?:Host|Secure)-", re.IGNORECASE)

#: The path of the dashboard and its API.
DASHBOARD = "/admin"

#: Called with the account, the IP address and the name of the device.
OnNewDevice = Callable[[User, str, str], Awaitable[None]]

logger = logging.getLogger("tornado_sessions.security")


class Demo(NamedTuple):
    """A server with made-up data, whose pages say so.

    Attributes:
        operator, password: who may sign in; shown on the sign-in page.
        prepare: fills the open stores, and returns what to await before they are closed.
    """

    operator: str
    password: str
    prepare: Callable[[Parts], Awaitable[Callable[[], Awaitable[None]]]]


async def log_new_device(user: User, ip: str, device: str) -> None:
    """Log a sign-in from a new device."""
    logger.info("%s signed in with a new device: %s from %s", user.name, device, ip)


@dataclass(kw_only=True)
class Site:
    """The objects that all handlers share, stored as the application's setting ``site``.

    Args:
        parts: the server's objects.
        place, on_new_device: see ``make_application``.
        demo: the operator of a demo; ``None`` for a server with real data.
        query_slots: limits the number of concurrent operators' queries.
        exports, streams: limit the numbers of concurrent exports and of open event streams.
        measured: how many passwords were measured lately, by IP address.
        recovery_url: the page for people who have forgotten their password; empty while there is none.
        load: what this process is working on.
        draining: whether this process is about to stop.
        people_seen: who is let in first when the server is busy.
    """

    parts: Parts
    place: Place
    on_new_device: OnNewDevice
    demo: Demo | None = None
    recovery_url: str = ""
    query_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_QUERIES))
    exports: Shares = field(default_factory=lambda: Shares(MAX_EXPORTS, MAX_EXPORTS_OF_PERSON))
    streams: Shares = field(default_factory=lambda: Shares(MAX_STREAMS, MAX_STREAMS_OF_PERSON))
    measured: Counter[str] = field(default_factory=Counter)
    load: Load = field(default_factory=Load)
    draining: Draining = field(default_factory=Draining)
    #: The path of the dashboard below the prefix. Its routes, links and redirects are all derived from it.
    dashboard: str = DASHBOARD
    people_seen: PeopleSeen = field(default_factory=PeopleSeen)

    def __post_init__(self) -> None:
        options = self.parts.options
        #: The path below which the server is, such as ``/sessions``; empty for the root.
        self.prefix = options.base_path
        #: The public origin, such as ``https://example.com``; empty if it is not configured.
        self.origin = origin_of(options.public_url or "")
        secrets = self.parts.sessions.config.keys("secret")
        self.form_tokens = FormTokens(secrets)
        #: Signs sign-in tickets.
        self.form_key = hmac.new(secrets[0].encode(), b"tornado_sessions ticket", sha256).digest()

    def url(self, path: str) -> str:
        """Return the URL of a path of this server: the path below the prefix. Every link, form and redirect is made here."""
        return self.prefix + path

    def cookie(self, kind: str, *, secure: bool) -> str:
        """Return the name of a cookie other than the session's.

        Servers on one host share its cookies, whatever their ports. So the name of another session cookie, or else the prefix,
        becomes part of the names of the others.
        """
        options = self.parts.options
        own = _COOKIE_PREFIX.sub("", options.cookie_name or "") or self.prefix.strip("/").replace("/", ".")
        name = f"{own}_{kind.lstrip('_')}" if own else kind
        # Only a cookie with this prefix cannot come from another host of our domain. Browsers demand the path "/" for it.
        return f"__Host-{name}" if secure and not self.prefix else name
