"""The data of one request: its origin, its session and its pending save.

Plain data. It must not know a store, the rules or Tornado.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tornado_sessions.change import Delta
    from tornado_sessions.cookie import Issued, Presented
    from tornado_sessions.record import Change, Create
    from tornado_sessions.session import Session

__all__ = ["PendingSave", "RequestInfo", "RequestSession"]


class RequestInfo(msgspec.Struct, frozen=True):
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


class RequestSession(msgspec.Struct, eq=False):
    """One request and its session: the cookie it carried, and the cookie it will set.

    Attributes:
        session: the handler's session.
        info: time and origin of the request.
        presented: the cookie of this request: the one it carried, or the one ordered since.
        carried: hash of the secret that the request carried; ``None`` without a genuine cookie.
        set_cookie: the ``Set-Cookie`` header for the response, if any.
        barred: handle and reason if only a log-in may start a session, not the assignment of a value; ``None``: both may.
        rivals: handles of different live sessions with cookies in this request; a log-in ends them.
    """

    session: Session
    info: RequestInfo
    presented: Presented | None = None
    carried: bytes | None = None
    set_cookie: str | None = None
    barred: tuple[str, str] | None = None
    rivals: Sequence[str] = ()


class PendingSave(msgspec.Struct, frozen=True):
    """One commit, ready to be sent.

    Attributes:
        change: sent to the store.
        delta: the session's changes contained in it, not encrypted.
        token: a new token for the browser, issued once the change is stored; ``None`` if it makes none.
    """

    change: Create | Change
    delta: Delta
    token: Issued | None = None
