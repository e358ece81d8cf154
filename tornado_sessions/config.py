"""``SessionConfig``: every option of the library, with safe defaults, checked together.

It must not know requests or stores. All durations are seconds, as numbers or ``timedelta``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from tornado_sessions.damage import is_unicode
from tornado_sessions.errors import ConfigError
from tornado_sessions.validation import shown

__all__ = ["SessionConfig"]

#: RFC 6265bis limits the Max-Age of a cookie to 400 days; no session lives longer.
MAX_LIFETIME = 400 * 86400

# Characters; the documentation asks for random ones.
_MIN_SECRET = 32
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")
# Longest first: "__Host-" is also a prefix of "__Host-Http-".
_PREFIXES = ("__Host-Http-", "__Host-", "__Secure-", "__Http-")
_DURATIONS = ("idle_timeout", "absolute_timeout", "touch_after", "rotation_grace", "keep_ended_for", "store_timeout")
_SWITCHES = ("rolling", "persistent", "http_only", "partitioned", "end_on_theft")


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """The options of the library: lifetimes, cookie attributes, proxies, limits and keys.

    Args:
        cookie_name: name of the cookie. ``None``: ``__Host-sid`` if the cookie is secure, without a domain and for the path
            ``/``; otherwise ``sid``.
        secret: signing key of the cookie, or a list with the newest first: the newest signs, all verify. Use at least 32
            random characters. Required, here or as ``Sessions(secret=…)``.
        idle_timeout: seconds without a request after which a session ends (OWASP ASVS 5.0 V7.3.1).
        rolling: each request extends the session. If off, a session ends ``idle_timeout`` after it started.
        absolute_timeout: seconds after which a session ends in any case (OWASP ASVS 5.0 V7.3.2).
        persistent: the cookie survives a restart of the browser (``Max-Age``).
        http_only, secure, same_site, path, domain, partitioned, priority: attributes of the cookie. ``secure="auto"`` follows
            the request: https, or a trusted proxy that reports https.
        touch_after: seconds by which ``last_seen_at`` may lag before a request without changes writes it. The lag never
            exceeds a tenth of the session's idle timeout.
        rotate_after: age in seconds at which the secret of a token is replaced; ``None``: only at sign-in.
        rotation_grace: seconds for which the previous secret stays valid after the new one was first presented.
        end_on_theft: end a session when a replaced secret is presented; otherwise this is only logged.
        trusted_proxies: addresses or networks of proxies with a trustworthy ``forwarded_header``; ``"unix:"`` means connections
            over a unix socket. Behind a unix socket that is not trusted, every client's address is ``""``.
        forwarded_header: the header set by those proxies: ``"X-Forwarded-For"``, with ``X-Forwarded-Proto``, or
            ``"Forwarded"`` (RFC 7239). The other one is ignored.
        max_sessions_per_user: limit of sessions per user; ``None``: no limit.
        when_exceeded: the effect of a sign-in beyond the limit: ``"end_oldest"`` ends the user's oldest sessions, ``"refuse"``
            raises ``TooManySessions``.
        encryption_key: key of any length that encrypts values (AES-256-GCM), or a list with the newest first. Values stored
            without a key remain readable.
        max_size: limit of the encoded keys and values of one session, in bytes.
        keep_ended_for: seconds for which the tombstone of an ended session is kept.
        store_timeout: seconds after which a call of the store counts as an outage.

    Raises:
        ConfigError: an option is wrong; the message lists every fault.
    """

    cookie_name: str | None = None
    secret: str | Sequence[str] | None = field(default=None, repr=False)
    idle_timeout: float | timedelta = 1800
    rolling: bool = True
    absolute_timeout: float | timedelta = 43200
    persistent: bool = False
    http_only: bool = True
    secure: bool | Literal["auto"] = "auto"
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    path: str = "/"
    domain: str | None = None
    partitioned: bool = False
    priority: Literal["Low", "Medium", "High"] | None = None
    touch_after: float | timedelta = 60
    rotate_after: float | timedelta | None = None
    rotation_grace: float | timedelta = 30
    end_on_theft: bool = False
    trusted_proxies: Sequence[str] = ()
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    max_sessions_per_user: int | None = None
    when_exceeded: Literal["end_oldest", "refuse"] = "end_oldest"
    encryption_key: str | Sequence[str] | None = field(default=None, repr=False)
    max_size: int = 65536
    keep_ended_for: float | timedelta = 86400
    store_timeout: float | timedelta = 5

    def __post_init__(self) -> None:
        for name in (*_DURATIONS, "rotate_after"):
            value = getattr(self, name)
            if isinstance(value, timedelta):
                object.__setattr__(self, name, value.total_seconds())
        faults = [
            *self._duration_faults(),
            *self._switch_faults(),
            *self._cookie_faults(),
            *self._policy_faults(),
            *self._key_faults(),
        ]
        if faults:
            raise ConfigError(*faults)

    def _duration_faults(self) -> Iterator[str]:
        for name in (*_DURATIONS, "rotate_after"):
            value = getattr(self, name)
            if value is None and name == "rotate_after":
                continue
            # The last comparison refuses NaN, which is not equal to itself.
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124
                yield f"{name} must be a number of seconds, not {shown(value)}"
            elif value < 0 or (value == 0 and name in ("idle_timeout", "absolute_timeout", "store_timeout")):
                yield f"{name} must be more than 0 seconds, not {shown(value)}"
            elif value > MAX_LIFETIME:
                yield f"{name} must be at most 400 days ({MAX_LIFETIME} seconds), not {shown(value)}"

    def _switch_faults(self) -> Iterator[str]:
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                yield f"{name} must be True or False, not {shown(value)}"

    def _cookie_faults(self) -> Iterator[str]:
        name = self.cookie_name if isinstance(self.cookie_name, str) else None
        secure: object = self.secure
        if secure != "auto" and not isinstance(secure, bool):
            yield f"secure must be True, False or 'auto', not {shown(self.secure)}"
        if self.same_site not in ("Lax", "Strict", "None"):
            yield f"same_site must be 'Lax', 'Strict' or 'None', not {shown(self.same_site)}"
        if self.priority not in (None, "Low", "Medium", "High"):
            yield f"priority must be None, 'Low', 'Medium' or 'High', not {shown(self.priority)}"
        if not _fits(_ATTRIBUTE, self.path) or not self.path.startswith("/"):
            yield f"path must start with '/' and contain no ';' or control character, not {shown(self.path)}"
        if self.domain is not None and not _fits(_DOMAIN, self.domain):
            yield f"domain must be a host name, not {shown(self.domain)}"
        if self.cookie_name is not None and not _fits(_TOKEN, self.cookie_name):
            yield f"cookie_name must be made of letters, digits and !#$%&'*+-.^_`|~, not {shown(self.cookie_name)}"
        # ``"auto"`` can result in a cookie that is not secure, so it is refused as well.
        if self.secure is not True and self.same_site == "None":
            yield "same_site='None' needs secure=True: browsers refuse it otherwise"
        if self.secure is not True and self.partitioned:
            yield "partitioned needs secure=True: browsers refuse it otherwise"
        yield from self._prefix_faults(name or "")

    def _prefix_faults(self, name: str) -> Iterator[str]:
        """Check the browsers' rules for cookie name prefixes, in upper or lower case (RFC 6265bis 4.1.3)."""
        prefix = next((prefix for prefix in _PREFIXES if name.lower().startswith(prefix.lower())), "")
        if prefix and self.secure is not True:
            yield f"the cookie_name {name!r} needs secure=True: browsers refuse it otherwise"
        if "Http-" in prefix and not self.http_only:
            yield f"a cookie_name with {prefix} needs http_only=True: browsers refuse it otherwise"
        if prefix.startswith("__Host-") and (self.domain is not None or self.path != "/"):
            yield f"a cookie_name with {prefix} allows no domain, and only the path '/'"

    def _policy_faults(self) -> Iterator[str]:
        if self.max_sessions_per_user is not None and not _is_count(self.max_sessions_per_user):
            yield f"max_sessions_per_user must be None or a whole number from 1, not {shown(self.max_sessions_per_user)}"
        if self.when_exceeded not in ("end_oldest", "refuse"):
            yield f"when_exceeded must be 'end_oldest' or 'refuse', not {shown(self.when_exceeded)}"
        if not _is_count(self.max_size):
            yield f"max_size must be a whole number of bytes from 1, not {shown(self.max_size)}"
        yield from self._proxy_faults()

    def _proxy_faults(self) -> Iterator[str]:
        if self.forwarded_header not in ("X-Forwarded-For", "Forwarded"):
            yield f"forwarded_header must be 'X-Forwarded-For' or 'Forwarded', not {shown(self.forwarded_header)}"
        proxies: object = self.trusted_proxies
        if isinstance(proxies, str | bytes | Mapping) or not isinstance(proxies, Collection):
            yield f"trusted_proxies must be a list of addresses or networks, not {shown(proxies)}"
            return
        for proxy in proxies:
            # ipaddress also accepts an int, as a packed address.
            if proxy != "unix:" and (not isinstance(proxy, str) or not _is_network(proxy)):
                yield f"trusted_proxies: {shown(proxy)} is neither an address, a network nor 'unix:'"

    def _key_faults(self) -> Iterator[str]:
        for name in ("secret", "encryption_key"):
            value = getattr(self, name)
            keys = [value] if isinstance(value, str) else value
            if keys is None:
                continue
            if not (isinstance(keys, Sequence) and keys and all(map(_is_key, keys))):
                yield f"{name} must be a str or a list of str, none of them empty"
            elif name == "secret" and min(map(len, keys)) < _MIN_SECRET:
                # A short key can be found by trying: every visitor has a cookie to try it on.
                yield f"secret must have at least {_MIN_SECRET} characters; make one with: openssl rand -base64 48"

    def keys(self, name: Literal["secret", "encryption_key"]) -> list[str]:
        """Return the keys of one option as a list, newest first; empty if it is not set."""
        value = getattr(self, name)
        return [value] if isinstance(value, str) else list(value or ())

    def seconds(
        self,
        name: Literal[
            "idle_timeout", "absolute_timeout", "touch_after", "rotation_grace", "store_timeout", "keep_ended_for"
        ],
    ) -> float:
        """Return a duration in seconds."""
        return float(getattr(self, name))


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_key(value: object) -> bool:
    return isinstance(value, str) and value != "" and is_unicode(value)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
