"""``Site``: the objects that all handlers of a dashboard share. It must not know handlers, templates or accounts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tornado.httputil import HTTPServerRequest

from tornado_sessions.manager import Sessions
from tornado_sessions.server.dashboard_parts import DashboardParts
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.operations.places import Place
from tornado_sessions.server.web.draining import Draining
from tornado_sessions.server.web.form_tokens import FormTokens
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.people_seen import PeopleSeen
from tornado_sessions.server.web.shares import Shares

__all__ = [
    "MAX_EXPORTS",
    "MAX_QUERIES",
    "MAX_STREAMS",
    "MAX_STREAMS_OF_PERSON",
    "Site",
    "Visitors",
]

#: Maximum number of concurrent operators' queries per process.
MAX_QUERIES = 8
#: Maximum number of concurrent exports per process, and of one person: each may read for minutes.
MAX_EXPORTS, MAX_EXPORTS_OF_PERSON = 2, 1
#: Maximum number of open event streams per process, and of one person. Browsers open six connections to a host, over HTTP/1.1.
MAX_STREAMS, MAX_STREAMS_OF_PERSON = 20, 5

_COOKIE_PREFIX = re.compile("^__(?:Host|Secure)-", re.IGNORECASE)


class Visitors(Protocol):
    """Who looks at the site, and how they prove who they are. ``handler`` is an ``AccessHandler``."""

    #: Whether ``verify`` can check a password. Otherwise people sign in again at ``Site.proof_url``.
    can_verify: bool

    async def current(self, handler: Any) -> Person | None:
        """Return the signed-in person, or ``None``."""

    async def verify(self, handler: Any, password: str) -> bool:
        """Return whether the password is that of the signed-in person. Raises ``Refused`` with the reason."""

    async def sign_in_again(self, handler: Any, person: Person, proved_at: float) -> None:
        """Give a person whose session has just ended a new one, which inherits the time of the password, in UTC seconds."""


@dataclass(kw_only=True)
class Site:
    """The objects that all handlers share. Every route passes it to its handler.

    Args:
        parts: the objects with which operators work.
        visitors: who looks at the pages.
        prefix: the path of the site, such as ``/sessions``; empty for the root.
        root: the part of ``prefix`` that requests have when they reach the routes.
        dashboard: the path of the dashboard below ``prefix``. Its routes, links and redirects are all derived from it.
        home: the page below ``prefix`` to which everything leads that has no better page.
        sign_in_url: the page on which people sign in; empty to use the setting ``login_url`` of the application.
        proof_url: the page on which people sign in again; empty for the page on which they sign in.
        origin: the public origin, such as ``https://example.com``; empty if it is not configured.
        cookie_name: part of the names of all cookies other than the session's; see ``cookie``.
        place: returns the place of an IP address.
        service: the name of the service, in the head and the title of each page.
        query_slots: limits the number of concurrent operators' queries.
        exports, streams: limit the numbers of concurrent exports and of open event streams.
        load: what this process is working on.
        draining: whether this process is about to stop.
        people_seen: who is let in first when the server is busy.
        ready: called before each request is authorized; opens what the first one needs. May raise ``StoreUnavailable``.
    """

    parts: DashboardParts
    visitors: Visitors
    prefix: str = ""
    root: str = ""
    dashboard: str = ""
    home: str = "/"
    sign_in_url: str = ""
    proof_url: str = ""
    origin: str = ""
    cookie_name: str = ""
    place: Place = lambda _ip: ""
    service: str = "tornado_sessions"
    query_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_QUERIES))
    exports: Shares = field(default_factory=lambda: Shares(MAX_EXPORTS, MAX_EXPORTS_OF_PERSON))
    streams: Shares = field(default_factory=lambda: Shares(MAX_STREAMS, MAX_STREAMS_OF_PERSON))
    load: Load = field(default_factory=Load)
    draining: Draining = field(default_factory=Draining)
    people_seen: PeopleSeen = field(default_factory=PeopleSeen)
    ready: Callable[[], Awaitable[None]] | None = None
    #: Before the names of the values that our pages keep in a session, which belongs to the application as well.
    session_prefix: str = ""
    #: Whether the pages of our accounts are part of this site.
    has_accounts = False

    def __post_init__(self) -> None:
        self.form_tokens = FormTokens(self.sessions.config.keys("secret"))

    @property
    def sessions(self) -> Sessions:
        """The sessions that operators see, and in which they look at the pages."""
        return self.parts.sessions

    def is_secure(self, request: HTTPServerRequest) -> bool:
        """Return whether a request counts as https."""
        secure = self.sessions.config.secure
        return self.sessions.proxies.of(request).secure if secure == "auto" else bool(secure)

    def url(self, path: str) -> str:
        """Return the URL of a path of this site: the path below the prefix. Every link, form and redirect is made here."""
        return self.prefix + path

    def path_of(self, request: HTTPServerRequest) -> str:
        """Return the path of a request below the prefix."""
        return request.path.removeprefix(self.root)

    def called(self, user: str) -> str:
        """Return what pages call the user with this id: the name, if the handler has read it, or else the id."""
        return self.parts.directory.name_of(user)

    def names(self) -> Mapping[str, Any]:
        """Return what all templates know of the site."""
        return {
            "place": self.place,
            "service": self.service,
            "has_accounts": self.has_accounts,
            "demo": None,
            "can_set_role": self.parts.actions.can_set_role,
        }

    def cookie(self, kind: str, *, secure: bool) -> str:
        """Return the name of a cookie other than the session's.

        Servers on one host share its cookies, whatever their ports. So the name of another session cookie, or else the prefix,
        becomes part of the names of the others.
        """
        own = _COOKIE_PREFIX.sub("", self.cookie_name) or self.prefix.strip("/").replace("/", ".")
        name = f"{own}_{kind.lstrip('_')}" if own else kind
        # Only a cookie with this prefix cannot come from another host of our domain. Browsers demand the path "/" for it.
        return f"__Host-{name}" if secure and not self.prefix else name
