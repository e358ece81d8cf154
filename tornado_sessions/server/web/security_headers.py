"""The security headers of every response, whatever produced it: a page, the API, a static file, a health check or an error.

They are added by an output transform of the application, so that a new handler cannot forget them. It must not know any handler.
"""

from __future__ import annotations

from functools import partial
from typing import cast

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform
from typing_extensions import override

from tornado_sessions.config import SessionConfig
from tornado_sessions.proxies import Proxies

__all__ = ["HSTS", "SECURITY_HEADERS", "security_headers"]

#: Headers of every response (OWASP ASVS 5.0 V3.4). A handler may set its own value of each except ``Server``.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: ``Strict-Transport-Security``: one year. Without ``includeSubDomains``, because other hosts below ours may not use https.
HSTS = "max-age=31536000"


def security_headers(config: SessionConfig, proxies: Proxies) -> type[OutputTransform]:
    """Return the transform for ``Application(transforms=…)``.

    Args:
        config: decides together with the request whether the connection counts as https.
        proxies: those whose header says so.
    """
    # Tornado calls it with the request.
    return cast("type[OutputTransform]", partial(_SecurityHeaders, config, proxies))


class _SecurityHeaders(OutputTransform):
    def __init__(self, config: SessionConfig, proxies: Proxies, request: HTTPServerRequest) -> None:
        super().__init__(request)
        self._is_secure = proxies.of(request).secure if config.secure == "auto" else bool(config.secure)

    @override
    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["Server"] = "tornado_sessions"  # without Tornado's version
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        if self._is_secure:
            headers["Strict-Transport-Security"] = HSTS
        return status_code, headers, chunk
