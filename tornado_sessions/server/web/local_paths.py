"""``local_path``: the only way from a URL that a client gave to a redirect, so that no redirect leads to another site.

It must not know handlers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from tornado_sessions.server.web.origins import origin_of

__all__ = ["local_path", "normalised"]

_MAX_LENGTH = 2048
# Printable ASCII without the backslash. Browsers read a backslash as a slash and drop tabs and line ends, so "/\t/evil" and
# "/\evil" would lead to another site.
_is_plain = re.compile(r"[!-\[\]-~]+").fullmatch
# An encoded slash, backslash or control character: a proxy that decodes it would see another path than the checks below.
_has_hidden = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE).search
_ENCODED = re.compile(r"%([2-7][0-9A-Fa-f])")
_is_unreserved = re.compile(r"[A-Za-z0-9._~-]").fullmatch
#: Paths whose GET does something; a redirect from our own page would look like the user's wish.
_ACTING = ("/logout/", "/language/")


def normalised(url: str) -> str | None:
    """Return an absolute path with its query as a browser would request it, without ``.`` and ``..`` (RFC 3986, 5.2.4 and 6.2.2).

    Returns:
        ``None`` if the text is anything but a path on the same host.
    """
    if len(url) > _MAX_LENGTH or not _is_plain(url):
        return None
    path, mark, query = url.partition("#")[0].partition("?")
    if not path.startswith("/") or _has_hidden(path):
        return None
    segments: list[str] = []
    parts = _ENCODED.sub(_decoded, path).split("/")[1:]
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part != ".":
            segments.append(part)
    if parts[-1] in (".", ".."):
        segments.append("")
    clean = "/" + "/".join(segments)
    # Two slashes at the start would name a host.
    return None if "//" in clean else clean + mark + query


def local_path(url: str, origins: Collection[str], prefix: str = "") -> str | None:
    """Return a URL of this server as a path without the prefix, in its normal form.

    Args:
        url: given by a client: a path, or an absolute URL.
        origins: our own origins, such as ``https://example.com``; absolute URLs of others are refused.
        prefix: the path below which the server is; paths outside are refused.

    Returns:
        ``None`` if the URL leads elsewhere, or to a path whose GET does something.
    """
    if not _is_plain(url):
        return None
    try:
        scheme, host, path, query, _ = urlsplit(url)
    except ValueError:
        return None
    if scheme or host:
        # User information makes the host differ from ours, so it is refused as well.
        if origin_of(url) not in origins:
            return None
        url = (path or "/") + ("?" + query if query else "")
    found = normalised(url)
    if found is None:
        return None
    path, mark, query = found.partition("?")
    if not f"{path}/".startswith(f"{prefix}/"):
        return None
    path = path.removeprefix(prefix) or "/"
    # A proxy may remove the prefix, and the application as well: the path behind a second prefix is reached, too.
    reached = path.removeprefix(prefix)
    return None if f"{reached}/".startswith(_ACTING) else path + mark + query


def _decoded(found: re.Match[str]) -> str:
    letter = chr(int(found[1], 16))
    return letter if _is_unreserved(letter) else found[0].upper()
