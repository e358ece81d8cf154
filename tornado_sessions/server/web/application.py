"""The Tornado application with all routes of the server. It must not know how its parts are built."""

from __future__ import annotations

from typing import Any

from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, RequestHandler
from typing_extensions import override

from tornado_sessions.server.metrics import Metrics
from tornado_sessions.server.open_id import START
from tornado_sessions.server.operations.places import Place, Places
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.request_context import RequestContext, current
from tornado_sessions.server.web.access_log import LineBudget, log_request
from tornado_sessions.server.web.account_site import OnNewDevice, log_new_device
from tornado_sessions.server.web.base import NotFound
from tornado_sessions.server.web.health import HEALTH
from tornado_sessions.server.web.hosts import AllowedHosts, Misdirected
from tornado_sessions.server.web.origins import origin_of
from tornado_sessions.server.web.server_routes import server_routes
from tornado_sessions.server.web.server_site import Demo, ServerSite
from tornado_sessions.server.web.server_visitors import ServerVisitors

__all__ = ["make_application"]


class _Application(Application):
    def __init__(self, *args: Any, site: ServerSite, **settings: Any) -> None:
        super().__init__(*args, site=site, **settings)
        self._site = site
        self._hosts = AllowedHosts(site.parts.options)

    @override
    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        # Called before the request is read. What is logged about a malformed one must not carry the ID of the previous
        # request on the same connection.
        current.set(RequestContext())
        return super().start_request(server_conn, request_conn)

    @override
    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        site = self._site
        if request.path.startswith(f"{site.prefix}/") or request.path == site.prefix:
            # A proxy may have removed the prefix or not; routes are the same either way.
            request.path = request.path.removeprefix(site.prefix) or "/"
        if request.path not in HEALTH and not self._hosts.accepts(request):
            return self.get_handler_delegate(request, Misdirected, {"site": site})
        return super().find_handler(request, **kwargs)


def make_application(
    parts: Parts,
    on_new_device: OnNewDevice = log_new_device,
    place: Place = lambda _ip: "",
    demo: Demo | None = None,
    recovery_url: str = "",
) -> Application:
    """Return the application with all routes.

    Args:
        parts: the server's objects.
        on_new_device: called at a sign-in from a new device, for example to send an email. Its errors are logged and do not
            prevent the sign-in.
        place: returns the place of an IP address as text, such as ``Utrecht, NL``. It is called on the event loop, once for each
            address, so it must not block. Its errors are logged and cost nothing but the place.
        recovery_url: the page for people who have forgotten their password, to which the sign-in page links; by default, that of
            this server if it sends mail.
        demo: the operator of a demo, for pages that say so; ``None`` for real data.
    """
    sessions, metrics = parts.sessions, parts.metrics
    place = parts.census.place = Places(place)
    own = f"{parts.options.base_path}/forgot" if parts.mail is not None else ""
    site = ServerSite(
        parts=parts,
        visitors=ServerVisitors(parts),
        prefix=parts.options.base_path,
        dashboard="/admin",
        home="/home",
        sign_in_url=f"{parts.options.base_path}/login",
        proof_url=f"{parts.options.base_path}{START}?prove=1" if parts.open_id is not None else "",
        origin=origin_of(parts.options.public_url or ""),
        cookie_name=parts.options.cookie_name or "",
        place=place,
        on_new_device=on_new_device,
        demo=demo,
        recovery_url=recovery_url or own,
    )
    _watch(metrics, site)
    lines = LineBudget()

    def finished(handler: RequestHandler) -> None:
        log_request(handler, lines, sessions.proxies)
        metrics.request(handler.request.method or "", handler.get_status(), handler.request.request_time())

    return _Application(
        server_routes(site),
        default_handler_class=NotFound,
        default_handler_args={"site": site},
        log_function=finished,
        sessions=sessions,
        site=site,
    )


def _watch(metrics: Metrics, site: ServerSite) -> None:
    """Count open connections, requests and streams whenever the metrics are read."""
    metrics.watch("open_connections", "Open connections", lambda: site.load.connections)
    metrics.watch("requests_in_progress", "Requests in progress, streams included", lambda: site.load.in_progress)
    metrics.refused = site.load.refused
    metrics.watch("open_streams", "Open event streams of the dashboard", site.streams.taken.total)
