"""Health and counters: alive, ready, Prometheus.

It must not know pages' content. Details are for this machine and for operators.
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
    """``/healthz``: the process answers."""

    def get(self) -> None:
        """Says so."""
        self.set_header("Server", "tornado_sessions")
        self.write("ok\n")


class Ready(RequestHandler):
    """``/readyz``: the store answers."""

    async def get(self) -> None:
        """``ok``, or 503; why is in the log."""
        self.set_header("Server", "tornado_sessions")
        try:
            await self.settings["sessions"].ping()
        except StoreError as error:
            # Also where trying again does not help, or a balancer would send requests here.
            self.set_status(503)
            seconds = retry_after(error)
            if seconds is not None:
                self.set_header("Retry-After", seconds)
            self.write("the session store cannot be reached\n")
            return
        self.write("ok\n")


class Metrics(PageHandler):
    """``/metrics``, for this machine and for who may look at sessions."""

    async def get(self) -> None:
        """Prometheus' text format."""
        if not (self._is_local() or self.role.at_least(Role.VIEWER)):
            raise HTTPError(403)
        registry = CollectorRegistry()
        start = time.perf_counter()
        live = await self.sessions.count()
        gauge = Gauge(
            "tornado_sessions_live", "Sessions that would be let in now (a bound in MongoDB)", registry=registry
        )
        gauge.set(live.total)
        seconds = Gauge("tornado_sessions_store_seconds", "How long the store took to count them", registry=registry)
        seconds.set(time.perf_counter() - start)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(registry))
        self.write(generate_latest(self.parts.activity.registry))

    def _is_local(self) -> bool:
        """Whether this machine asks, and not a proxy on it: one that is not trusted has a loopback address as well."""
        if is_forwarded(self.request.headers):
            return False
        try:
            return ipaddress.ip_address(self.client_ip).is_loopback
        except ValueError:
            return False


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [(r"/healthz", Alive), (r"/readyz", Ready), (r"/metrics", Metrics)]
