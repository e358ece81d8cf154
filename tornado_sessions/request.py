"""The data of one request: its origin, its session and its pending save.

Plain data. It must not know a store, the rules or Tornado.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tornado_sessions.change import Delta
    from tornado_sessions.cookie import Issued, Presented
    from tornado_sessions.record import Change, Create
    from tornado_sessions.session import Session

__all__ = ["PendingSave", "RequestInfo", "RequestSession"]


class RequestInfo(NamedTuple):
    """The properties of a request that the rules use.

    Attributes:
        now: time of arrival, in UTC seconds.
        ip: the client's address.
        user_agent: its ``User-Agent`` header.
        touches: whether it counts as use of the session.
        secure: whether its cookie has the ``Secure`` attribute.
    """

    now: float
    ip: str = ""
    user_agent: str = ""
    touches: bool = True
    secure: bool = False


class RequestSession:
    """One request and its session: the cookie it carried, and the cookie it will set.

    Attributes:
        session: the handler's session.
        carried: hash of the secret that the request carried; ``None`` without a genuine cookie.
        presented: the cookie of this request: the one it carried, or the one ordered since.
        info: time and origin of the request.
        set_cookie: the ``Set-Cookie`` header for the response, if any.
        barred: handle and reason if only a log-in may start a session, not the assignment of a value; ``None``: both may.
        rivals: handles of different live sessions with cookies in this request; a log-in ends them.
    """

    __slots__ = ("barred", "carried", "info", "presented", "rivals", "session", "set_cookie")

    def __init__(self, session: Session, presented: Presented | None, info: RequestInfo) -> None:
        self.session = session
        self.carried = presented.secret_hash if presented is not None else None
        self.presented = presented
        self.info = info
        self.set_cookie: str | None = None
        self.barred: tuple[str, str] | None = None
        self.rivals: Sequence[str] = ()


class PendingSave(NamedTuple):
    """One commit, ready to be sent.

    Attributes:
        change: sent to the store.
        delta: the session's changes contained in it, not encrypted.
        token: a new token for the browser, issued once the change is stored; ``None`` if it makes none.
    """

    change: Create | Change
    delta: Delta
    token: Issued | None = None
