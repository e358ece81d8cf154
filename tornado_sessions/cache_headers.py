"""The cache headers of a response that used a session.

Pure functions of headers. They must not know sessions or handlers.
"""

from __future__ import annotations

from tornado.httputil import HTTPHeaders

__all__ = ["forbid_caching"]


def forbid_caching(headers: HTTPHeaders) -> None:
    """Keep a response out of shared caches. Stricter headers set by the handler are kept.

    Args:
        headers: of the response; gets ``Cache-Control: no-store`` and ``Vary: Cookie`` (RFC 9111 5.2.2.5, RFC 9110 12.5.5).
    """
    # Tornado's dict of the headers: its methods take three times as long, and every response with a session comes here.
    present = headers._as_list
    if "Cache-Control" not in present:
        present["Cache-Control"] = ["no-store"]
    elif not {"no-store", "private"} & _words(headers, "Cache-Control"):
        headers["Cache-Control"] = "no-store"
    if "Vary" not in present:
        present["Vary"] = ["Cookie"]
    elif not {"cookie", "*"} & _words(headers, "Vary"):
        headers["Vary"] = ", ".join([*filter(None, headers.get_list("Vary")), "Cookie"])


def _words(headers: HTTPHeaders, name: str) -> set[str]:
    return {word.strip().lower() for word in ",".join(headers.get_list(name)).split(",")}
