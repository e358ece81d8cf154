"""Health checks and metrics: ``/healthz``, ``/readyz`` and ``/metrics`` (Prometheus). It must not know any page."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado.web import HTTPError

from tornado_sessions.errors import StoreError
from tornado_sessions.proxies import is_forwarded
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.base import PageHandler, retry_after
from tornado_sessions.server.web.methods import MethodHandler

__all__ = ["HEALTH", "routes"]

#: Load balancers ask these by any address, so they are answered for every ``Host``. They tell nothing and change nothing.
HEALTH = ("/healthz", "/readyz")


class Alive(MethodHandler):
    """``/healthz``: the process is running."""

    def set_default_headers(self) -> None:
        """Set the type of the answer."""
        super().set_default_headers()
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    async def get(self) -> None:
        """Answer ``ok``."""
        self.write("ok\n")


class Ready(Alive):
    """``/readyz``: the store answers, and this process is not about to stop."""

    async def get(self) -> None:
        """Answer ``ok``, or 503 without the reason, which is only logged."""
        if self.settings["site"].draining.is_announced:
            self.set_status(503)
            self.set_header("Retry-After", 1)
            self.write("the server is stopping\n")
            return
        try:
            await self.settings["sessions"].ping()
        except StoreError as error:
            # Permanent errors are answered with 503, too, so that a load balancer sends no requests to this process.
            self.set_status(503)
            seconds = retry_after(error)
            if seconds is not None:
                self.set_header("Retry-After", seconds)
            self.write("the session store cannot be reached\n")
            return
        self.write("ok\n")


class Metrics(PageHandler):
    """``/metrics``, for requests from this host and for viewers."""

    async def get(self) -> None:
        """Answer in Prometheus' text format."""
        if not (self._is_local() or self.role.at_least(Role.VIEWER)):
            raise HTTPError(403)
        registry, start = CollectorRegistry(), time.perf_counter()
        count = await self.sessions.count()
        seconds = time.perf_counter() - start
        Gauge("tornado_sessions_live", "Active sessions (may be a lower bound)", registry=registry).set(count.total)
        Gauge("tornado_sessions_store_seconds", "Time to count them", registry=registry).set(seconds)
        look = await self.parts.audit.look()
        # Monitoring remembers these: an attacker who changes the store cannot make them fall unseen.
        Gauge("tornado_sessions_audit_head", "Number of the newest audit entry", registry=registry).set(look.number)
        Gauge("tornado_sessions_audit_entries", "Audit entries that are kept", registry=registry).set(look.kept)
        Gauge("tornado_sessions_audit_faults", "Faults of the end of the audit log", registry=registry).set(
            len(look.faults)
        )
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(registry))
        self.write(generate_latest(self.parts.activity.registry))

    def _is_local(self) -> bool:
        # A proxy on this host also connects from a loopback address. Even the header of an untrusted proxy shows that the
        # client is on another host.
        if is_forwarded(self.request.headers):
            return False
        try:
            return ipaddress.ip_address(self.client_ip).is_loopback
        except ValueError:
            return False


def routes() -> list[Any]:
    """Return the paths and their handlers."""
    return [(r"/healthz", Alive), (r"/readyz", Ready), (r"/metrics", Metrics)]
