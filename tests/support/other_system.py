"""Another system whose sessions can move here: its cookie ``old`` is the id, and its sessions are in a dict."""

from __future__ import annotations

from typing_extensions import override

from tornado_sessions.cookie import cookie_values
from tornado_sessions.takeover import ForeignSession, Takeover


class OtherSystem(Takeover):
    def __init__(self, **sessions: ForeignSession) -> None:
        self.sessions = sessions

    @override
    def read_cookie(self, header: str) -> str | None:
        return next(iter(cookie_values(header, "old")), None)

    @override
    async def read(self, session_id: str, now: float) -> ForeignSession | None:
        return self.sessions.get(session_id)

    @override
    async def end(self, session_id: str) -> bool:
        return self.sessions.pop(session_id, None) is not None

    @override
    def clearing_cookie(self, *, secure: bool) -> str:
        return "old=; Max-Age=0"
