"""Health checks: ``/healthz`` and ``/readyz``. It must not know any page."""

from __future__ import annotations

from typing import Any

from tornado_sessions.errors import StoreError
from tornado_sessions.server.web.base import retry_after
from tornado_sessions.server.web.methods import MethodHandler

__all__ = ["HEALTH", "routes"]

#: Load balancers ask these by any address, so they are answered for every ``Host``. They reveal nothing and change nothing.
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
        if self.site.draining.is_announced:
            self.set_status(503)
            self.set_header("Retry-After", 1)
            self.write("the server is stopping\n")
            return
        try:
            await self.site.sessions.ping()
        except StoreError as error:
            # Permanent errors are answered with 503, too, so that a load balancer sends no requests to this process.
            self.set_status(503)
            seconds = retry_after(error)
            if seconds is not None:
                self.set_header("Retry-After", seconds)
            self.write("the session store cannot be reached\n")
            return
        self.write("ok\n")


def routes() -> list[Any]:
    """Return the paths and their handlers."""
    return [(r"/healthz", Alive), (r"/readyz", Ready)]
