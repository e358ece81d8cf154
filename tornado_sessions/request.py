"""Where one request came from, what it has to do with its session, and what one commit of it would send.

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
    """What the rules need to know of a request.

    Attributes:
        now: when it arrived, in UTC seconds.
        ip: the client's address.
        user_agent: its ``User-Agent`` header.
        touches: whether it counts as use of the session.
        secure: whether its cookie has the attribute ``Secure``.
    """

    now: float
    ip: str = ""
    user_agent: str = ""
    touches: bool = True
    secure: bool = False


class RequestSession:
    """One request and its session: what it carried, and what its cookie will become.

    Attributes:
        session: what the handler uses.
        carried: hash of the secret that the request carried, ``None`` without a valid cookie.
        presented: the cookie that this request speaks for: the one that came with it, or the one ordered since.
        info: when and from where the request came.
        set_cookie: the ``Set-Cookie`` header that the response must carry, if any.
        barred: handle and reason for which values alone may not start a session, only a log-in may; ``None``: they may.
        rivals: handles of different sessions whose cookies came together; a log-in ends them.
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
        change: what the store gets.
        delta: what of the session's pending changes it holds, not encrypted.
        token: the token that the browser gets once it is stored, if it makes one.
    """

    change: Create | Change
    delta: Delta
    token: Issued | None = None
