"""What one request has to do with its session, and what one commit of it would send.

Plain data. It must not know a store, the rules or Tornado.
"""

from __future__ import annotations

from typing import NamedTuple

from tornado_sessions.cookie import Issued, Presented
from tornado_sessions.lifecycle import Delta, RequestInfo
from tornado_sessions.record import Change, Create
from tornado_sessions.session import Session

__all__ = ["PendingSave", "RequestSession"]


class RequestSession:
    """One request's dealings with its session: what it carried, and what its cookie shall become.

    Attributes:
        session: what the handler uses.
        carried: hash of the secret that the request carried, ``None`` without a valid cookie.
        presented: the cookie that this visit speaks for: the request's, or the one ordered since.
        moment: when and from where the request came.
        secure: whether it came over https.
        set_cookie: the ``Set-Cookie`` header that the response must carry, if any.
        barred: handle and reason for which values alone may not start a session, only a log-in may; ``None``: they may.
        rivals: handles of different sessions whose cookies came together; a log-in ends them.
    """

    __slots__ = ("barred", "carried", "moment", "presented", "rivals", "secure", "session", "set_cookie")

    def __init__(self, session: Session, presented: Presented | None, moment: RequestInfo, *, secure: bool) -> None:
        self.session = session
        self.carried = presented.secret_hash if presented is not None else None
        self.presented = presented
        self.moment = moment
        self.secure = secure
        self.set_cookie: str | None = None
        self.barred: tuple[str, str] | None = None
        self.rivals: list[str] = []


class PendingSave(NamedTuple):
    """One commit, ready to be sent.

    Attributes:
        change: what the store gets.
        delta: what of the session's pending changes it holds, not encrypted.
        token: the token that the browser gets once it is stored, if it makes one.
    """

    change: Create | Change
    delta: Delta
    token: Issued | None = None
