"""The names by which requests may reach this server, and the answer to any other.

A page of another site whose name leads here (DNS rebinding) would otherwise count as ours. It must not know routes.
"""

from __future__ import annotations

import ipaddress
from typing import NoReturn
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.methods import MethodHandler

__all__ = ["AllowedHosts", "Misdirected"]


class AllowedHosts:
    """The names. If neither a public URL nor allowed hosts are configured, every name is accepted.

    Args:
        options: the settings.
    """

    def __init__(self, options: ServerOptions) -> None:
        public = urlsplit(options.public_url or "").hostname
        self._names = {*options.allowed_hosts, *([public] if public else [])}

    def accepts(self, request: HTTPServerRequest) -> bool:
        """Return whether the request names this server."""
        name = request.host_name.strip("[]").rstrip(".")
        return not self._names or name in self._names or name == "localhost" or _is_own_address(name, request)


class Misdirected(MethodHandler):
    """The answer to a request for another host: 421 without a page (RFC 9110, 15.5.20)."""

    @override
    def prepare(self) -> NoReturn:
        raise HTTPError(421)


def _is_own_address(name: str, request: HTTPServerRequest) -> bool:
    """Return whether the name is an address of this host: a loopback one, or the one to which the client has connected.

    A load balancer, an operator with an SSH tunnel and Prometheus use them. No other site can, because it has a name.
    """
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    stream = getattr(request.connection, "stream", None)
    own = stream.socket.getsockname() if stream is not None and stream.socket is not None else ""
    return address.is_loopback or (isinstance(own, tuple) and ipaddress.ip_address(own[0].partition("%")[0]) == address)
