"""``/metrics`` for Prometheus. It must not know how the metrics are counted."""

from __future__ import annotations

import ipaddress

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from tornado.httputil import split_host_and_port
from typing_extensions import override

from tornado_sessions.errors import SessionError
from tornado_sessions.proxies import is_forwarded
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.base import ApiHandler
from tornado_sessions.server.web.server_site import ServerSite

__all__ = ["MetricsResource"]


class MetricsResource(ApiHandler):
    """``/metrics``, for programs on this host, viewers, and API tokens that may read."""

    site: ServerSite

    @property
    @override
    def parts(self) -> Parts:
        return self.site.parts

    @override
    async def authenticate(self) -> str | None:
        user = await super().authenticate()
        if user is None and self._is_local():
            self.role = Role.VIEWER
            return "loopback"
        return user

    async def get(self) -> None:
        """Answer in Prometheus' text format, also while the store is down."""
        try:
            await self.parts.measure_stores()
        except SessionError:
            # The metrics say so, and those of the processes are still true.
            self.parts.metrics.store_up.set(0)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(self.parts.metrics.exposition())

    def _is_local(self) -> bool:
        """Return whether the request comes from a program on this host, rather than through a proxy or a browser on it.

        A proxy on this host also connects from a loopback address. Even a forwarding header that is not trusted, or a host name
        that only others use, shows that the client is elsewhere. An nginx that is told nothing but where to pass requests sends
        neither, but speaks HTTP/1.0, which Prometheus and curl do not; from 1.29.7 on it speaks HTTP/1.1. So a server with a public
        address and no trusted proxy, which must be behind one that tells nothing, knows no local programs.
        """
        if self.site.origin and not self.sessions.config.trusted_proxies and not _is_local_host(self.site.origin):
            return False
        return (
            self.request.version == "HTTP/1.1"
            and not is_forwarded(self.request.headers)
            and "Sec-Fetch-Site" not in self.request.headers
            and _is_local_host(f"//{self.request.host}")
            and _is_loopback(self.client_ip)
        )


def _is_local_host(origin: str) -> bool:
    host, _ = split_host_and_port(origin.partition("//")[2].lower())
    return host == "localhost" or _is_loopback(host.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
