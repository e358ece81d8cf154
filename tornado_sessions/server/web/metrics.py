"""Health and metrics: ``/healthz`` (alive), ``/readyz`` (the store answers), ``/metrics`` (Prometheus).

It must not know any page.
"""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado.web import HTTPError, RequestHandler

from tornado_sessions.errors import StoreError
from tornado_sessions.proxies import is_forwarded
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.base import PageHandler, retry_after

__all__ = ["routes"]


class Alive(RequestHandler):
    """The process answers."""

    def set_default_headers(self) -> None:
        """Hide Tornado's version."""
        self.set_header("Server", "tornado_sessions")

    async def get(self) -> None:
        """Answer ``ok``."""
        self.write("ok\n")


class Ready(Alive):
    """The store answers."""

    async def get(self) -> None:
        """Answer ``ok``, or 503; the reason is in the log only."""
        try:
            await self.settings["sessions"].ping()
        except StoreError as error:
            # 503 for an error that a retry does not fix, too: a load balancer must send no requests here.
            self.set_status(503)
            seconds = retry_after(error)
            if seconds is not None:
                self.set_header("Retry-After", seconds)
            self.write("the session store cannot be reached\n")
            return
        self.write("ok\n")


class Metrics(PageHandler):
    """Metrics, for requests from this machine and for viewers."""

    async def get(self) -> None:
        """Answer in Prometheus' text format."""
        if not (self._is_local() or self.role.at_least(Role.VIEWER)):
            raise HTTPError(403)
        registry, start = CollectorRegistry(), time.perf_counter()
        count = await self.sessions.count()
        seconds = time.perf_counter() - start
        Gauge("tornado_sessions_live", "Active sessions (a bound in MongoDB)", registry=registry).set(count.total)
        Gauge("tornado_sessions_store_seconds", "Time to count them", registry=registry).set(seconds)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(registry))
        self.write(generate_latest(self.parts.activity.registry))

    def _is_local(self) -> bool:
        # A proxy on this machine also connects from a loopback address. If it is not trusted, its header is not believed,
        # but it still shows that the client is elsewhere.
        if is_forwarded(self.request.headers):
            return False
        try:
            return ipaddress.ip_address(self.client_ip).is_loopback
        except ValueError:
            return False


def routes() -> list[Any]:
    """Return paths and their handlers."""
    return [(r"/healthz", Alive), (r"/readyz", Ready), (r"/metrics", Metrics)]
