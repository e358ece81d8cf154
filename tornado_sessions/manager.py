"""``Sessions``: fetch a record, ask the rules, store what changed, tell the cookie.

It must not know Tornado's handlers; ``mixin`` calls it at the right moments. Everything that can wait for a store is here
or below.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.batching import Batcher
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.config import SessionConfig
from tornado_sessions.cookie import Cookies, Issued, Presented, new_token
from tornado_sessions.errors import ConfigError, DecodeError, SessionError, SessionGone, StoreError, StoreUnavailable
from tornado_sessions.guarded_saves import Answer, AtomicSaves, base
from tornado_sessions.lifecycle import Delta, Lifetime, Verdict
from tornado_sessions.proxies import Proxies
from tornado_sessions.record import Cause, Change, Create, Damaged, Outcome, Record, SessionSummary, Tombstone
from tornado_sessions.registry import SessionRegistry
from tornado_sessions.request import PendingSave, RequestInfo, RequestSession
from tornado_sessions.session import Session
from tornado_sessions.session_limit import SessionLimit, SignInUndone
from tornado_sessions.stores import Store, open_store
from tornado_sessions.validation import check_user_id

__all__ = ["RequestSession", "Sessions"]

logger = logging.getLogger("tornado_sessions")
security = logging.getLogger("tornado_sessions.security")

_SHORT_SECRET = 16
# Maximum number of reports (thefts, damage, rival cookies) that are remembered, so that each is logged once.
_REPORTED = 1000
# Attempts at storing a new session: each fails only if everybody is ended, by a clock that is ahead, between two of them.
_CREATE_ATTEMPTS = 5
_REPLACED = "has a newer token than this request, or was signed out of a info ago"
_RIVALS = "came together with another one"


class Sessions(SessionRegistry):
    """The sessions of an application: give one to ``tornado.web.Application(…, sessions=sessions)``.

    Building it does no I/O; the store is opened at first use, or by ``await sessions.open()``.

    Args:
        store: a URL for ``open_store``, or a store.
        secret: signing key, or a list with the newest first; here or in the configuration.
        config: the options.
        clock: returns the time in UTC seconds; tests pass their own.

    Raises:
        ConfigError: the URL is wrong, there is no secret, or an argument has a wrong type.
    """

    #: Called when a secret that was rotated away is presented, a sign of theft: with what is stored and the request.
    on_theft: Callable[[SessionSummary, RequestInfo], Awaitable[None]] | None = None
    #: Called when a user's session came from another address than before: with what was stored and the request.
    on_move: Callable[[SessionSummary, RequestInfo], Awaitable[None]] | None = None

    def __init__(
        self,
        store: str | Store,
        secret: str | Sequence[str] | None = None,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config = SessionConfig() if config is None else config
        if not isinstance(config, SessionConfig):
            raise ConfigError(f"config must be a SessionConfig, not of type {type(config).__name__}")
        if secret is not None:
            config = replace(config, secret=secret)
        secrets = config.keys("secret")
        if not secrets:
            raise ConfigError("secret is missing: pass Sessions(secret=…), at least 32 random characters")
        if min(map(len, secrets)) < _SHORT_SECRET:
            security.warning("a secret has fewer than %d characters; it can be guessed", _SHORT_SECRET)
        opened = open_store(store) if isinstance(store, str) else store
        if not isinstance(opened, Store):
            raise ConfigError(f"store must be a URL or a Store, not of type {type(opened).__name__}")
        super().__init__(opened, config, clock)
        self.cookies = Cookies(config, secrets)
        self.proxies = Proxies(config.trusted_proxies, config.forwarded_header)
        self._codec = Codec(config.keys("encryption_key"))
        deadline = config.seconds("store_timeout")
        self._loads: Batcher[str, tuple[Record | Tombstone | Damaged | None, float]] = Batcher(
            self._load_all, self.store.backend, deadline, self._owner
        )
        self._saves: Batcher[Create | Change, Answer] = Batcher(
            self._save_all, self.store.backend, deadline, self._owner
        )
        self._limit = SessionLimit(self)
        self._housekeeping_fails = False
        self._reported: dict[str, float] = {}
        self._atomic = AtomicSaves(self._saves.ask, self._codec, self.store.backend, clock)

    async def close(self) -> None:
        """Finish what is under way and close the store; harmless when it is closed.

        Afterwards it may be opened again, also on another event loop.

        Raises:
            UsageError: it was opened on another event loop, or before a fork.
        """
        self._owner()
        await self._saves.drain()
        await self._loads.drain()
        await super().close()

    # --- the way in ----------------------------------------------------------------------------------------------

    def new_request_session(
        self, info: RequestInfo, *, presented: Presented | None = None, ended: Tombstone | None = None
    ) -> RequestSession:
        """A request with a new, empty session; nothing is stored."""
        session = Session(None, self._codec, self.config.max_size, ended)
        return RequestSession(session, presented, info)

    async def fetch(self, presented: Presented, info: RequestInfo) -> RequestSession:
        """The session of a request that carried a valid cookie.

        Raises:
            StoreUnavailable: the session cannot be loaded.
        """
        found, not_before = await self._loads.ask(presented.handle)
        verdict, ended = lifecycle.judge(found, presented.secret_hash, info.now, not_before)
        if verdict in (Verdict.LIVE, Verdict.PREVIOUS) and isinstance(found, Record):
            session = Session(found, self._codec, self.config.max_size, transform=self._atomic.transform)
            return RequestSession(session, presented, info)
        if verdict is Verdict.STALE and isinstance(found, Record):
            await self._report_theft(found, info)
        if isinstance(found, Damaged) and self._remember(f"{presented.handle} is damaged", 0.0):
            security.warning("session %s is damaged: %s", presented.handle, found.why)
        request = self.new_request_session(info, presented=presented, ended=ended)
        if lifecycle.is_replaced(found, verdict, info.now):
            request.barred = (presented.handle, _REPLACED)
        return request

    async def fetch_one_of(self, several: Sequence[Presented], info: RequestInfo) -> RequestSession:
        """The session of a request with different genuine cookies, believed only if they lead to one live session.

        What is left of an ended session, or an older token of the live one, says nothing. With two live sessions nobody
        can tell which one was planted: neither is believed, and the next log-in ends them.

        Raises:
            StoreUnavailable: the sessions cannot be loaded.
        """
        loaded = await asyncio.gather(*(self._loads.ask(one.handle) for one in several))
        judged = [
            (lifecycle.judge(found, one.secret_hash, info.now, not_before).verdict, one, found)
            for one, (found, not_before) in zip(several, loaded, strict=True)
        ]
        # The newest token first: it is the one to go on with.
        good = [one for good in (Verdict.LIVE, Verdict.PREVIOUS) for verdict, one, _ in judged if verdict is good]
        handles = list(dict.fromkeys(one.handle for one in good))
        for verdict, one, found in judged:
            if verdict is Verdict.STALE and isinstance(found, Record) and one.handle not in handles:
                await self._report_theft(found, info)
        if len(handles) == 1:
            return await self.fetch(good[0], info)
        self._report_rivals(list(dict.fromkeys(one.handle for one in several)), info)
        request = self.new_request_session(info)
        if handles:
            request.rivals, request.barred = handles, (handles[0], _RIVALS)
        elif any(lifecycle.is_replaced(found, verdict, info.now) for verdict, _, found in judged):
            request.barred = (several[0].handle, _REPLACED)
        return request

    def _report_rivals(self, handles: list[str], info: RequestInfo) -> None:
        """Log it once: the browser sends them with every request."""
        if self._remember(" ".join(sorted(handles)), 0.0):
            names = ", ".join(handles)
            security.warning("different session cookies came together from %s and were refused: %s", info.ip, names)

    def _remember(self, key: str, at: float) -> bool:
        """Whether this is to be reported: it was not yet, with this time."""
        if self._reported.get(key) == at:
            return False
        self._reported[key] = at
        if len(self._reported) > _REPORTED:
            del self._reported[next(iter(self._reported))]
        return True

    async def _report_theft(self, record: Record, info: RequestInfo) -> None:
        """Say so once for each rotation: whoever holds an old token may send it a thousand times."""
        if self._remember(record.handle, record.rotated_at):
            security.warning("session %s: a secret that was rotated away came from %s", record.handle, info.ip)
            await self._notify(self.on_theft, record, info)
        if self.config.end_on_theft:
            await self._end_stolen(record.handle)

    async def _end_stolen(self, handle: str) -> None:
        """End it if the store accepts that; the request that brought the old token is a visitor's in any case."""
        try:
            await self.destroy(handle, cause=Cause.THEFT)
        except Exception as error:  # noqa: BLE001 - a store of the application's own may raise anything
            security.warning("session %s could not be ended: %r", handle, error)

    # --- the way out ---------------------------------------------------------------------------------------------

    def draft(self, request: RequestSession, *, may_rotate: bool = True) -> PendingSave | None:
        """What a commit of this request would send; ``None`` when there is nothing to store.

        Args:
            request: the request's.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionTooLarge, NotStorable: what the handler put in cannot be stored.
            SessionGone: the request may start no session by itself.
        """
        session, info = request.session, request.info
        record, delta = session.record, session.delta()
        if record is None:
            if delta.set and request.barred is not None:
                raise SessionGone(*request.barred)
            return self._draft_new(request, delta) if delta.set else None
        if not delta and not lifecycle.due(record, request.carried, info, self.config):
            return None
        rotates = may_rotate and lifecycle.rotation_due(record, request.carried, info, self.config)
        return self._draft_change(request, delta, _Rotate(record.secret_hash) if rotates else None)

    async def commit(
        self, request: RequestSession, draft: PendingSave | None = None, *, may_rotate: bool = True
    ) -> None:
        """Store what changed.

        Only the visitor's own changes can fail a request: where nothing but housekeeping is pending (touch, address, user agent,
        confirmation, rotation by time) and the store refuses it, that is logged and the request goes on.

        Args:
            request: the request's.
            draft: of this request, when there is one already.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionGone: the session ended meanwhile; nothing was written.
            StoreUnavailable: nothing is known to be stored.
            SessionTooLarge, NotStorable: what the handler put in cannot be stored.
        """
        draft = draft or self.draft(request, may_rotate=may_rotate)
        if draft is None:
            return
        if isinstance(draft.change, Create):
            await self._create(request, draft)
            return
        try:
            await self._save(request, draft)
        except Exception as error:
            # A store of the application's own may raise anything; SessionGone and UsageError are no faults of a store.
            if draft.delta or (isinstance(error, SessionError) and not isinstance(error, StoreError)):
                raise
            self._report_housekeeping(error)
        else:
            self._housekeeping_fails = False

    async def _save(self, request: RequestSession, draft: PendingSave) -> None:
        """Save a change of a stored session, drafted again where another request's came in between."""
        assert isinstance(draft.change, Change)  # noqa: S101 - for the type checker
        rotation, before = draft.change.rotation, request.session.record
        # Drafted again, it rotates only if no other request has done so meanwhile: twice is once.
        rotate = _Rotate(rotation.expected_hash) if rotation is not None else None
        await self._order_after(
            request, await self._atomic.save(request.session, draft, lambda: self._redraft(request, rotate))
        )
        if draft.change.ip is not None and before is not None and before.user:
            await self._notify(self.on_move, before, request.info)

    def _report_housekeeping(self, error: Exception) -> None:
        """One warning for each outage: while it lasts, every request that is due would repeat it."""
        level = logging.DEBUG if self._housekeeping_fails else logging.WARNING
        self._housekeeping_fails = True
        logger.log(
            level,
            "the last use of sessions is not recorded, requests go on: %s",
            error if isinstance(error, StoreError) else repr(error),
        )

    async def _notify(
        self,
        callback: Callable[[SessionSummary, RequestInfo], Awaitable[None]] | None,
        facts: SessionSummary,
        info: RequestInfo,
    ) -> None:
        """Call the application's hook; whatever goes wrong in it is logged and does not decide the visitor's request."""
        if callback is None:
            return
        try:
            await callback(facts, info)
        except Exception:
            logger.exception("a hook failed for session %s", facts.handle)

    def _draft_new(
        self, request: RequestSession, delta: Delta, user: str | None = None, not_before: float = 0.0
    ) -> PendingSave:
        token = new_token()
        record = lifecycle.make(token.handle, token.secret_hash, delta, request.info, self.config, user, not_before)
        record = msgspec.structs.replace(record, data=dict(self._codec.seal_all(token.handle, delta.set)))
        return PendingSave(Create(record=record), delta, token)

    def _redraft(self, request: RequestSession, rotate: _Rotate | None) -> PendingSave | None:
        return self._draft_change(request, request.session.delta(), rotate)

    def _draft_change(self, request: RequestSession, delta: Delta, rotate: _Rotate | None) -> PendingSave | None:
        """A change of a stored session, with a new token if ``rotate`` asks for one."""
        info, token, rotation, user = request.info, None, None, None
        record = base(request.session)
        if rotate is not None:
            user = rotate.user
            if rotate.only_from in (None, record.secret_hash):
                token = new_token(record.handle)
                grace = None if rotate.at_once else self.config.seconds("rotation_grace")
                rotation = lifecycle.rotation(record, token.secret_hash, request.carried, info.now, grace)
        sealed = self._atomic.sealed(record, delta)
        change = lifecycle.plan(record, request.carried, sealed, info, self.config, rotation, user)
        return PendingSave(change, delta, token) if change is not None else None

    async def _create(self, request: RequestSession, draft: PendingSave) -> None:
        """Store a visitor's new session. Raises ``StoreUnavailable``."""
        for _ in range(_CREATE_ATTEMPTS):
            if await self._created(request, draft):
                return
            draft = self._draft_new(request, draft.delta, not_before=await self._not_before(draft))
        raise StoreUnavailable(self.store.backend, "it refused the handle of a new session")

    async def _not_before(self, refused: PendingSave) -> float:
        """Ask when a new session may start at the earliest: everybody was ended by a host whose clock is ahead of this request."""
        return (await self._loads.ask(refused.change.handle))[1]

    async def _created(self, request: RequestSession, draft: PendingSave) -> bool:
        """Store a new session once; false when the store refuses its handle or its time."""
        assert isinstance(draft.change, Create)  # noqa: S101 - for the type checker
        assert draft.token is not None  # noqa: S101
        if await self._saves.ask(draft.change) is not Outcome.SAVED:
            return False
        request.session.mark_saved(draft.change.record, draft.delta, transform=self._atomic.transform)
        self._order_token(request, draft.token)
        return True

    async def _order_after(self, request: RequestSession, saved: PendingSave | None) -> None:
        """Order the cookie that follows from what was saved, if any does."""
        if saved is None or not isinstance(saved.change, Change):
            return
        if saved.token is not None:
            self._order_token(request, saved.token)
            return
        cookie, record = request.presented, request.session.record
        if cookie is None or record is None:
            return
        renews = not cookie.signed_by_newest or (record.persistent and saved.change.expires_at is not None)
        if renews and await self._is_newest(cookie):
            self._order(request, self.cookies.renew(cookie, secure=request.info.secure))

    async def _is_newest(self, cookie: Presented) -> bool:
        """Whether no sign-in replaced this token while its request ran: renewed, it would overwrite the signed-in cookie."""
        try:
            found, not_before = await self._loads.ask(cookie.handle)
        except Exception:  # noqa: BLE001 - as in commit()
            # What the visitor changed is stored; the cookie can be renewed by the next request.
            return False
        return lifecycle.judge(found, cookie.secret_hash, self.clock(), not_before).verdict is Verdict.LIVE

    def _order_token(self, request: RequestSession, token: Issued) -> None:
        """Order the cookie with a new token; from now on this request speaks for that."""
        value = self.cookies.sign(token.text, secure=request.info.secure)
        request.presented = Presented(token.handle, token.secret_hash, value, signed_by_newest=True)
        request.barred = None
        self._order(request, value)

    def _order(self, request: RequestSession, value: str) -> None:
        record = request.session.record
        age = lifecycle.max_age(record, request.info.now) if record is not None else None
        request.set_cookie = self.cookies.header(value, max_age=age, secure=request.info.secure)

    # --- what handlers ask for -----------------------------------------------------------------------------------

    async def reload(self, request: RequestSession) -> None:
        """Drop what is pending and take what is stored now. Raises ``SessionGone`` when the session has ended."""
        record = request.session.record
        if record is None or request.presented is None:
            request.session.reset(None)
            return
        found, not_before = await self._loads.ask(record.handle)
        verdict, _ = lifecycle.judge(found, request.presented.secret_hash, self.clock(), not_before)
        if verdict not in (Verdict.LIVE, Verdict.PREVIOUS) or not isinstance(found, Record):
            raise SessionGone(record.handle)
        request.session.reset(found)

    async def rotate(self, request: RequestSession, *, at_once: bool = False) -> None:
        """Give the session a new token. One that is not stored needs none.

        Args:
            request: the request's.
            at_once: the old token is dead at once; else it works for ``rotation_grace`` seconds after the new one was seen.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        record = request.session.record
        if record is None:
            return
        rotate = None
        if at_once:
            rotate = _Rotate(at_once=True)
        elif lifecycle.may_rotate(record, request.carried, request.info.now):
            rotate = _Rotate(record.secret_hash)
        await self._change(request, rotate)

    async def _change(self, request: RequestSession, rotate: _Rotate | None) -> None:
        draft = self._redraft(request, rotate)
        await self._order_after(
            request, await self._atomic.save(request.session, draft, lambda: self._redraft(request, rotate))
        )

    async def log_in(self, request: RequestSession, user: str, lifetime: Lifetime | None = None) -> None:
        """Make the session a user's: always a new token, the old one dead at once; a visitor's values are kept.

        Args:
            request: the request's.
            user: the user's id, a non-empty ``str`` of at most 512 bytes of UTF-8.
            lifetime: how long this session lives; ``None``: as configured.

        Raises:
            UsageError: ``user`` or ``lifetime`` is anything else; nothing has changed.
            TooManySessions: the user has as many sessions as the configuration allows, and it refuses the newest.
            StoreUnavailable: nobody was logged in.
        """
        user = check_user_id(user)
        if lifetime is not None:
            lifetime = lifecycle.own_lifetime(lifetime.seconds, lifetime.idle_timeout, lifetime.persistent)
        if request.session.user not in (None, user):
            # Another user's values are nobody else's business.
            await self.end(request)
        await self._end_rivals(request)
        _give_lifetime(request.session, lifetime)
        try:
            await self._sign_in(request, user, lifetime)
        except SignInUndone:
            # The browser keeps the cookie that it has: an error page must not carry that of a session which has ended.
            request.session.reset(None)
            request.set_cookie = None
            raise

    async def _sign_in(self, request: RequestSession, user: str, lifetime: Lifetime | None) -> None:
        if request.session.record is not None:
            handle = request.session.record.handle
            try:
                async with self._limit.place(user, handle):
                    await self._change(request, _Rotate(user=user, at_once=True))
            except SessionGone:
                # What was destroyed stays destroyed: the sign-in starts a new session.
                request.session.reset(None)
                _give_lifetime(request.session, lifetime)
            else:
                return
        await self._sign_in_new(request, user)

    async def _sign_in_new(self, request: RequestSession, user: str) -> None:
        not_before = 0.0
        for _ in range(_CREATE_ATTEMPTS):
            draft = self._draft_new(request, request.session.delta(), user, not_before)
            async with self._limit.place(user, draft.change.handle) as place:
                if await self._created(request, draft):
                    return
                place.is_needed = False
            not_before = await self._not_before(draft)
        raise StoreUnavailable(self.store.backend, "it refused the handle of a new session")

    async def end(self, request: RequestSession, cause: Cause = Cause.LOGOUT) -> None:
        """Destroy the session and clear its cookie; the request goes on with a new, empty one."""
        record = request.session.record
        if record is not None:
            await self.destroy(record.handle, cause=cause, by=record.user)
        await self._end_rivals(request)
        request.session.reset(None)
        if request.presented is not None and request.barred is None:
            request.set_cookie = self.cookies.header("", max_age=None, secure=request.info.secure)
        request.presented = None

    async def _end_rivals(self, request: RequestSession) -> None:
        """End the sessions whose cookies came together: the browser may go on sending them, and they must not lock it out."""
        rivals, request.rivals = request.rivals, []
        if rivals:
            await self.destroy_many(rivals, cause=Cause.LOGOUT)

    async def values_of(self, handle: str) -> dict[str, JSONValue] | None:
        """Return the values of a live session, for an operator who may look.

        Args:
            handle: of the session.

        Returns:
            The values by key, ``None`` for a value that cannot be decoded; ``None`` when no session of that handle is live
            and readable.

        Raises:
            UsageError: ``handle`` is not a ``str``.
            StoreUnavailable: the store does not answer.
        """
        found = await self.inspect(handle)
        if not isinstance(found, Record):
            return None
        session = Session(found, self._codec, self.config.max_size)
        values: dict[str, JSONValue] = {}
        for key in session:
            try:
                values[key] = session[key]
            except DecodeError:
                values[key] = None
        return values

    async def _load_all(
        self, handles: list[str]
    ) -> list[tuple[Record | Tombstone | Damaged | None, float] | Exception]:
        await self.open()
        loaded = await self.store.load(handles, self.clock())
        return [(found, loaded.not_before) for found in loaded.records]

    async def _save_all(self, changes: list[Create | Change]) -> Sequence[Answer | Exception]:
        await self.open()
        return await self.store.save(changes)


class _Rotate(NamedTuple):
    """How a change gives the session a new token.

    Attributes:
        only_from: rotate only while the stored secret is this one; ``None``: whatever it is.
        at_once: the old token is dead at once.
        user: who signs in with it.
    """

    only_from: bytes | None = None
    at_once: bool = False
    user: str | None = None


def _give_lifetime(session: Session, lifetime: Lifetime | None) -> None:
    if lifetime is not None:
        session.set_lifetime(lifetime.seconds, idle_timeout=lifetime.idle_timeout, persistent=lifetime.persistent)
