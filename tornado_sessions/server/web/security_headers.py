"""The security headers of every response, whatever produced it: a page, the API, a static file, a health check or an error.

The base of all handlers sets them as defaults, so that a new handler cannot forget them. It must not know any handler.
"""

from __future__ import annotations

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


def security_headers(is_secure: bool) -> dict[str, str]:  # noqa: FBT001
    """Return the headers of a response, as defaults of its handler.

    Args:
        is_secure: whether the connection counts as https.
    """
    # Without Tornado's version.
    headers = {"Server": "tornado_sessions", **SECURITY_HEADERS}
    return {**headers, "Strict-Transport-Security": HSTS} if is_secure else headers
