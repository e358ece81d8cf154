"""``Fetching``: load and judge the record of a request; report stolen, damaged and planted cookies.

It must not know Tornado's handlers, or what a handler changes: that is ``saving``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import override

from tornado_sessions import lifecycle
from tornado_sessions.background import OutageLog
from tornado_sessions.batching import Batcher
from tornado_sessions.codec import Codec
from tornado_sessions.config import SessionConfig
from tornado_sessions.cookie import Cookies, Presented
from tornado_sessions.guarded_saves import Answer, GuardedSaves
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.proxies import Proxies
from tornado_sessions.record import Cause, Change, Create, Damaged, Record, SessionSummary, Tombstone
from tornado_sessions.registry import SessionRegistry
from tornado_sessions.request import RequestInfo, RequestSession
from tornado_sessions.session import Session
from tornado_sessions.session_events import SessionEvent, Theft
from tornado_sessions.stores import Store
from tornado_sessions.stores.base import Found

__all__ = ["Fetching"]

security = logging.getLogger("tornado_sessions.security")

# Maximum number of remembered reports (thefts, damage, rival cookies); each is logged only once.
_REPORTS = 1000
_REPLACED = "has a newer token than this request, or has just been signed out"
_RIVALS = "was presented together with another session"


class Fetching(SessionRegistry):
    """Fetches the sessions of requests. ``secrets`` are the signing keys, newest first."""

    def __init__(self, store: Store, config: SessionConfig, clock: Callable[[], float], secrets: Sequence[str]) -> None:
        super().__init__(store, config, clock)
        self.cookies = Cookies(config, secrets)
        self.proxies = Proxies(config.trusted_proxies, config.forwarded_header)
        self._codec = Codec(config.keys("encryption_key"))
        batching = (store.backend, config.seconds("store_timeout"), self._owner, store.at_once)
        self._may_peek = type(store).peek is not Store.peek
        self._loads: Batcher[str, Found] = Batcher(self._load_all, *batching)
        self._saves: Batcher[Create | Change, Answer] = Batcher(self._save_all, *batching)
        self._guarded = GuardedSaves(self._saves.ask, self._codec, store.backend, clock)
        self._housekeeping = OutageLog("the last use of sessions is not recorded; requests are answered")
        self._reports: dict[str, float] = {}

    @override
    async def close(self) -> None:
        self._owner()
        await self._saves.drain()
        await self._loads.drain()
        await super().close()

    async def _load_all(self, handles: list[str]) -> list[Found | Exception]:
        # The whole batch waits while the first one opens the store.
        if not self.is_open:
            await self.open()
        loaded = await self._observed("load", lambda: self.store.load(handles, self.clock()), len(handles))
        return [(found, loaded.not_before) for found in loaded.records]

    async def _save_all(self, changes: list[Create | Change]) -> Sequence[Answer | Exception]:
        if not self.is_open:
            await self.open()
        return await self._observed("save", lambda: self.store.save(changes), len(changes))

    # --- load and judge ------------------------------------------------------------------------------------------

    def new_request_session(
        self, info: RequestInfo, *, presented: Presented | None = None, ended: Tombstone | None = None
    ) -> RequestSession:
        """Return a request with a new, empty session. Nothing is stored."""
        carried = presented.secret_hash if presented is not None else None
        return RequestSession(self._session(None, ended), info, presented, carried)

    def _session(self, record: Record | None, ended: Tombstone | None = None) -> Session:
        return Session(record, self._codec, self.config.max_size, ended, self._guarded.transform)

    def fetch_at_once(self, presented: Presented, info: RequestInfo) -> RequestSession | None:
        """Return the live session of a request if the store has it in memory. ``None``: ``fetch`` it."""
        answer = self._peek(presented)
        if answer is None:
            return None
        found, not_before = answer
        verdict = lifecycle.judge(found, presented.secret_hash, info.now, not_before).verdict
        if isinstance(found, Record) and (verdict is Verdict.LIVE or verdict is Verdict.PREVIOUS):
            return RequestSession(self._session(found), info, presented, presented.secret_hash)
        return None

    def _peek(self, presented: Presented) -> Found | None:
        if not (self._may_peek and self.is_open):
            return None
        self._owner()
        return self.store.peek(presented.handle)

    async def fetch(self, presented: Presented, info: RequestInfo) -> RequestSession:
        """Load the session of a request with one genuine cookie. An unknown or ended session is replaced by an empty one.

        Raises:
            StoreUnavailable: the session cannot be loaded.
        """
        found, not_before = await self._loads.ask(presented.handle)
        verdict, ended = lifecycle.judge(found, presented.secret_hash, info.now, not_before)
        if isinstance(found, Record):
            if verdict is Verdict.LIVE or verdict is Verdict.PREVIOUS:
                return RequestSession(self._session(found), info, presented, presented.secret_hash)
            if verdict is Verdict.STALE:
                await self._report_theft(found, info)
        elif isinstance(found, Damaged) and self._is_news(f"{presented.handle} is damaged"):
            security.warning("session %s is damaged: %s", presented.handle, found.why)
        request = self.new_request_session(info, presented=presented, ended=ended)
        if lifecycle.is_replaced(found, verdict, info.now):
            # If this late request started a session, its cookie would overwrite the newer one.
            request.barred = (presented.handle, _REPLACED)
        return request

    async def fetch_one_of(self, several: Sequence[Presented], info: RequestInfo) -> RequestSession:
        """Load the session of a request with different genuine cookies, if all that are still valid belong to one session.

        A sibling host can plant a cookie of its own session beside the victim's, and a cookie does not show which host set it.
        Cookies of ended sessions and older tokens of the live session are ignored. Of two live sessions either may be the
        planted one, so both are refused, and the next sign-in ends them.

        Raises:
            StoreUnavailable: the sessions cannot be loaded.
        """
        loaded = await asyncio.gather(*(self._loads.ask(one.handle) for one in several))
        judged = [
            (lifecycle.judge(found, one.secret_hash, info.now, not_before).verdict, one, found)
            for one, (found, not_before) in zip(several, loaded, strict=True)
        ]
        # The newest token comes first, and the request continues with it.
        valid = [one for wanted in (Verdict.LIVE, Verdict.PREVIOUS) for verdict, one, _ in judged if verdict is wanted]
        handles = list(dict.fromkeys(one.handle for one in valid))
        for verdict, one, found in judged:
            if verdict is Verdict.STALE and isinstance(found, Record) and one.handle not in handles:
                await self._report_theft(found, info)
        if len(handles) == 1:
            return await self.fetch(valid[0], info)
        names = list(dict.fromkeys(one.handle for one in several))
        if self._is_news(" ".join(sorted(names))):
            refused = ", ".join(names)
            security.warning("conflicting session cookies from %s were refused: %s", info.ip, refused)
        request = self.new_request_session(info)
        if handles:
            request.rivals, request.barred = handles, (handles[0], _RIVALS)
        elif any(lifecycle.is_replaced(found, verdict, info.now) for verdict, _, found in judged):
            request.barred = (several[0].handle, _REPLACED)
        return request

    def _is_news(self, key: str, at: float = 0.0) -> bool:
        """Return whether ``key`` is not yet reported for this time. A browser repeats its cookies with every request."""
        if self._reports.get(key) == at:
            return False
        self._reports[key] = at
        if len(self._reports) > _REPORTS:
            del self._reports[next(iter(self._reports))]
        return True

    async def _report_theft(self, record: Record, info: RequestInfo) -> None:
        """Report a stale secret once for each rotation, and end the session if the configuration says so."""
        if self._is_news(record.handle, record.rotated_at):
            security.warning("session %s: a replaced secret was presented from %s", record.handle, info.ip)
            self._emit(Theft, record, info)
        if not self.config.end_on_theft:
            return
        try:
            await self.destroy(record.handle, cause=Cause.THEFT)
        except Exception as error:  # noqa: BLE001 - a store of the application's own may raise anything
            # The request with the stale token gets an empty session in any case.
            security.warning("session %s could not be ended: %r", record.handle, error)

    def _emit(self, kind: type[SessionEvent], session: SessionSummary, info: RequestInfo, **more: Any) -> None:
        """Report what a request has done to a session, if an application listens."""
        if self._listeners.want(kind):
            more |= {"handle": session.handle, "user": session.user, "ip": info.ip, "user_agent": info.user_agent}
            self._listeners.emit(kind(at=info.now, **more))
