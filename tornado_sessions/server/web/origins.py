"""``source_of``: whether a request comes from our own pages, from the user, or from another site.

It reads Fetch Metadata, then ``Origin``, then ``Referer``. It must not know handlers or sessions.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from urllib.parse import urlsplit

from tornado.httputil import HTTPHeaders

__all__ = ["Source", "origin_of", "source_of"]

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Source(Enum):
    """Who caused a request."""

    OWN_PAGE = "own page"
    USER = "user"  #: the address bar, a bookmark, another program
    FOREIGN = "foreign"  #: another site, or another host of our own site
    UNKNOWN = "unknown"  #: no browser, or an old one that hides the referrer


def source_of(headers: HTTPHeaders, origins: Collection[str]) -> Source:
    """Return who caused a request, as far as its headers prove it.

    Args:
        headers: of the request.
        origins: our own origins. Only host and port are compared, because without ``trusted_proxies`` the server does not know
            that its proxy uses https.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        # The browser compares, so a proxy that replaces ``Host`` does not matter.
        return {"same-origin": Source.OWN_PAGE, "none": Source.USER}.get(site, Source.FOREIGN)
    given = headers.get("Origin") or headers.get("Referer")
    if not given:
        return Source.UNKNOWN
    hosts = {own.partition("://")[2] for own in origins}
    return Source.OWN_PAGE if origin_of(given).partition("://")[2] in hosts else Source.FOREIGN


def origin_of(url: str) -> str:
    """Return the origin of a URL in lower case and without the scheme's default port; empty if it has none."""
    try:
        scheme, host = urlsplit(url)[:2]
    except ValueError:
        return ""
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}" if scheme and host else ""
