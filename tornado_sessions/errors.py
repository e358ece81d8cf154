"""The errors that this package raises, in one tree; all of them can be imported from ``tornado_sessions``.

An error carries what a caller needs to act on it. Its message names the cause and the remedy, never a token. This
module must not know Tornado: ``status`` is only a hint for the code that writes a response::

    SessionError
    ├── ConfigError            an option or a URL is wrong; raised at start, lists every fault
    ├── QueryError             a filter, an order, a limit or a cursor of a list is invalid
    ├── UsageError             a call that cannot work: a wrong argument, or the wrong moment, event loop or process
    │   ├── NotStorable        the key or the value is not JSON, or is nested too deep
    │   └── SessionTooLarge    the session would exceed its size limit
    ├── SessionGone            the session ended while the request ran; its changes were dropped
    ├── TooManySessions        the user has as many sessions as the configuration allows
    ├── TooManyConnections     a session, or this process, has as many open WebSockets and streams as are allowed
    ├── DecodeError            stored bytes cannot be read (wrong encryption key, damage); nothing is overwritten
    ├── OpenIDError            a response or token of an OpenID provider is refused: wrong, expired or used before
    ├── ProviderUnavailable    the OpenID provider cannot be reached or used; 503, nobody is signed out
    └── StoreError
        ├── StoreUnavailable   the store cannot be reached or is full; 503, the cookie is left alone
        │   └── StoreDenied    the store refuses our user, password or permissions: it does not help to wait
        └── StoreMismatch      the store's schema, version or permissions do not suit this version
"""

from __future__ import annotations

from tornado_sessions.messages import Message

__all__ = [
    "ConfigError",
    "DecodeError",
    "NotStorable",
    "OpenIDError",
    "ProviderUnavailable",
    "QueryError",
    "SessionError",
    "SessionGone",
    "SessionTooLarge",
    "StoreDenied",
    "StoreError",
    "StoreMismatch",
    "StoreUnavailable",
    "TooManyConnections",
    "TooManySessions",
    "UsageError",
]


class SessionError(Exception):
    """The base class of every error of this package."""

    #: HTTP status of the response.
    status = 500
    #: Seconds after which the request may succeed (``Retry-After``); ``None`` if a retry does not help.
    retry_after: float | None = None


class ConfigError(SessionError, ValueError):
    """One or more options are wrong.

    Args:
        faults: one sentence per fault; the message lists all of them.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class QueryError(SessionError, ValueError):
    """An argument of a list is invalid.

    Args:
        text: the message, with ``%s`` for each value.
        values: fill the placeholders.
    """

    status = 400

    def __init__(self, text: str, *values: str) -> None:
        self.sentence = Message(text, values)
        super().__init__(str(self.sentence))


class UsageError(SessionError):
    """A call cannot work: an argument has a wrong type or value, or the moment is wrong.

    Wrong moments are: before ``prepare`` has loaded the session, when its cookie can no longer be sent, and after the response is
    finished. The call may also be on another event loop or in a forked process. Nothing is stored.
    """


class NotStorable(UsageError, TypeError):
    """``session[key]`` cannot be stored: the key is not a ``str``, or the value is not a JSON value.

    JSON values are str, int, float, bool, None, list and dict, nested at most 32 deep.
    """

    def __init__(self, key: object, why: str) -> None:
        super().__init__(f"session[{key!r}] cannot be stored: {why}")
        self.key = key


class SessionTooLarge(UsageError, ValueError):
    """The session would take ``size`` bytes; ``limit`` bytes are allowed."""

    status = 413

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the session would take {size} bytes, the limit is {limit}; store large data elsewhere")
        self.size = size
        self.limit = limit


class SessionGone(SessionError):
    """The session ``handle`` ended, or its token was replaced, while the request ran; its changes are not stored."""

    status = 409

    def __init__(self, handle: str, why: str = "has ended") -> None:
        super().__init__(f"session {handle} {why}; its changes were not written")
        self.handle = handle


class TooManySessions(SessionError):
    """``user`` already has ``limit`` sessions, and ``when_exceeded="refuse"`` allows no other."""

    status = 429

    def __init__(self, user: str, limit: int) -> None:
        super().__init__(f"{user} already has {limit} sessions; end one of them first")
        self.user = user
        self.limit = limit


class TooManyConnections(SessionError):
    """``limit`` WebSockets and streams are open: of session ``handle``, or of this process if it is empty.

    The status is 429 (RFC 6585) for a session and 503 for the process. The session is not touched.
    """

    retry_after = 10.0

    def __init__(self, handle: str, limit: int) -> None:
        whose = f"session {handle}" if handle else "this process"
        super().__init__(f"{whose} already has {limit} open WebSockets and streams")
        self.handle = handle
        self.limit = limit
        self.status = 429 if handle else 503


class DecodeError(SessionError):
    """A stored value of session ``handle`` cannot be read. The record is left unchanged; a retry does not help."""

    def __init__(self, handle: str, why: str) -> None:
        super().__init__(f"session {handle} cannot be read: {why}")
        self.handle = handle


class OpenIDError(SessionError):
    """A response or token of an OpenID provider is refused, or has not signed anybody in. The message may be shown to users."""

    status = 400


class ProviderUnavailable(SessionError):
    """The OpenID provider does not answer, or its answer cannot be used. Try again in ``retry_after`` seconds."""

    status = 503
    retry_after = 5.0

    def __init__(self, why: str) -> None:
        super().__init__(f"the OpenID provider cannot be used: {why}")


class StoreError(SessionError):
    """The store ``backend`` failed; ``why`` is the reason."""

    def __init__(self, backend: str, why: str) -> None:
        super().__init__(f"{backend}: {why}")
        self.backend = backend
        self.why = why


class StoreUnavailable(StoreError):
    """The store cannot be reached, or is locked, full or too slow. Try again in ``retry_after`` seconds."""

    status = 503
    retry_after = 5


class StoreDenied(StoreUnavailable):
    """The store refuses our user, password or permissions.

    While serving, this is an outage like any other, because an operator may be changing a password. At start it is a wrong
    configuration.
    """


class StoreMismatch(StoreError):
    """The store answers, but this version cannot use its schema, version or permissions."""
