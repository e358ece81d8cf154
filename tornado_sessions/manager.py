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

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.atomic import Answer, AtomicSaves, base
from tornado_sessions.batching import Batcher
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.config import SessionConfig
from tornado_sessions.cookie import Cookies, Issued, Presented, new_token
from tornado_sessions.directory import Directory
from tornado_sessions.errors import (
    ConfigError,
    DecodeError,
    SessionGone,
    StoreError,
    StoreUnavailable,
    TooManySessions,
)
from tornado_sessions.lifecycle import Lifetime, Moment, Verdict
from tornado_sessions.limits import SessionLimit
from tornado_sessions.proxies import Proxies
from tornado_sessions.record import Cause, Change, Create, Facts, Outcome, Record, Tombstone
from tornado_sessions.session import Session
from tornado_sessions.stores import Store, open_store
from tornado_sessions.visit import Draft, Visit

__all__ = ["Sessions", "Visit"]

logger = logging.getLogger("tornado_sessions")
security = logging.getLogger("tornado_sessions.security")

_SHORT_SECRET = 16
# Sessions of which a sign of theft was told are remembered so far back.
_REPORTED = 1000
_REPLACED = "has a newer token than this request, or was signed out of a moment ago"
_RIVALS = "came together with another one"


class Sessions(Directory):
    """The sessions of an application: give one to ``tornado.web.Application(…, sessions=sessions)``.

    Building it does no I/O; the store is opened at first use, or by ``await sessions.open()``.

    Args:
        store: a URL for ``open_store``, or a store.
        secret: signing key, or a list with the newest first; here or in the configuration.
        config: the options.
        clock: the time in UTC seconds; tests pass their own.

    Raises:
        ConfigError: the URL is wrong, or there is no secret.
    """

    #: Called when a secret that was rotated away is presented, a sign of theft: with what is stored and the request.
    on_theft: Callable[[Facts, Moment], Awaitable[None]] | None = None
    #: Called when a user's session came from another address than before: with what was stored and the request.
    on_move: Callable[[Facts, Moment], Awaitable[None]] | None = None

    def __init__(
        self,
        store: str | Store,
        secret: str | Sequence[str] | None = None,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        config = config or SessionConfig()
        if secret is not None:
            config = replace(config, secret=secret)
        secrets = config.keys("secret")
        if not secrets:
            raise ConfigError("secret is missing: pass Sessions(secret=…), at least 32 random characters")
        if min(map(len, secrets)) < _SHORT_SECRET:
            security.warning("a secret has fewer than %d characters; it can be guessed", _SHORT_SECRET)
        super().__init__(open_store(store) if isinstance(store, str) else store, config, clock)
        self.cookies = Cookies(config, secrets)
        self.proxies = Proxies(config.trusted_proxies, config.forwarded_header)
        self._codec = Codec(config.keys("encryption_key"))
        deadline = config.seconds("store_timeout")
        self._loads: Batcher[str, tuple[Record | Tombstone | None, float]] = Batcher(
            self._load, self.store.backend, deadline
        )
        self._saves: Batcher[Create | Change, Answer] = Batcher(self._save, self.store.backend, deadline)
        self._limit = SessionLimit(self)
        self._reported: dict[str, float] = {}
        self._atomic = AtomicSaves(self._saves.ask, self._codec, self.store.backend, clock)

    async def close(self) -> None:
        """Finish what is under way and close the store; harmless when it is closed."""
        await self._saves.drain()
        await self._loads.drain()
        await super().close()

    # --- the way in ----------------------------------------------------------------------------------------------

    def visitor(
        self, moment: Moment, *, secure: bool, presented: Presented | None = None, ended: Tombstone | None = None
    ) -> Visit:
        """A visit with a new, empty session; nothing is stored."""
        session = Session(None, self._codec, self.config.max_size, ended)
        return Visit(session, presented, moment, secure=secure)

    async def fetch(self, presented: Presented, moment: Moment, *, secure: bool) -> Visit:
        """The visit of a request that carried a valid cookie.

        Raises:
            StoreUnavailable: the session cannot be loaded.
        """
        found, not_before = await self._loads.ask(presented.handle)
        verdict, ended = lifecycle.judge(found, presented.secret_hash, moment.now, not_before)
        if verdict in (Verdict.LIVE, Verdict.PREVIOUS) and isinstance(found, Record):
            session = Session(found, self._codec, self.config.max_size, transform=self._atomic.transform)
            return Visit(session, presented, moment, secure=secure)
        if verdict is Verdict.STALE and isinstance(found, Record):
            await self._report_theft(found, moment)
        visit = self.visitor(moment, secure=secure, presented=presented, ended=ended)
        if lifecycle.is_replaced(found, verdict, moment.now):
            visit.barred = (presented.handle, _REPLACED)
        return visit

    async def fetch_one_of(self, several: Sequence[Presented], moment: Moment, *, secure: bool) -> Visit:
        """The visit of a request with different genuine cookies, believed only if they lead to one live session.

        What is left of an ended session, or an older token of the live one, says nothing. With two live sessions nobody
        can tell which one was planted: neither is believed, and the next log-in ends them.

        Raises:
            StoreUnavailable: the sessions cannot be loaded.
        """
        loaded = await asyncio.gather(*(self._loads.ask(one.handle) for one in several))
        judged = [
            (lifecycle.judge(found, one.secret_hash, moment.now, not_before).verdict, one, found)
            for one, (found, not_before) in zip(several, loaded, strict=True)
        ]
        # The newest token first: it is the one to go on with.
        good = [one for good in (Verdict.LIVE, Verdict.PREVIOUS) for verdict, one, _ in judged if verdict is good]
        handles = list(dict.fromkeys(one.handle for one in good))
        for verdict, one, found in judged:
            if verdict is Verdict.STALE and isinstance(found, Record) and one.handle not in handles:
                await self._report_theft(found, moment)
        if len(handles) == 1:
            return await self.fetch(good[0], moment, secure=secure)
        self._report_rivals(list(dict.fromkeys(one.handle for one in several)), moment)
        visit = self.visitor(moment, secure=secure)
        if handles:
            visit.rivals, visit.barred = handles, (handles[0], _RIVALS)
        elif any(lifecycle.is_replaced(found, verdict, moment.now) for verdict, _, found in judged):
            visit.barred = (several[0].handle, _REPLACED)
        return visit

    def _report_rivals(self, handles: list[str], moment: Moment) -> None:
        """Log it once: the browser sends them with every request."""
        if self._remember(" ".join(sorted(handles)), 0.0):
            names = ", ".join(handles)
            security.warning("different session cookies came together from %s and were refused: %s", moment.ip, names)

    def _remember(self, key: str, at: float) -> bool:
        """Whether this is to be reported: it was not yet, with this time."""
        if self._reported.get(key) == at:
            return False
        self._reported[key] = at
        if len(self._reported) > _REPORTED:
            del self._reported[next(iter(self._reported))]
        return True

    async def _report_theft(self, record: Record, moment: Moment) -> None:
        """Say so once for each rotation: whoever holds an old token may send it a thousand times."""
        if self._remember(record.handle, record.rotated_at):
            security.warning("session %s: a secret that was rotated away came from %s", record.handle, moment.ip)
            if self.on_theft is not None:
                await self.on_theft(record, moment)
        if self.config.end_on_theft:
            await self.destroy(record.handle, cause=Cause.THEFT)

    # --- the way out ---------------------------------------------------------------------------------------------

    def draft(self, visit: Visit, *, may_rotate: bool = True) -> Draft | None:
        """What a commit of this visit would send; ``None`` when there is nothing to store.

        Args:
            visit: the request's.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionTooLarge, NotStorable: what the handler put in cannot be stored.
            SessionGone: the visit may start no session by itself.
        """
        session, now = visit.session, visit.moment.now
        record = session.record
        if record is None:
            new = self._draft_new(visit) if session.changed() else None
            if new is not None and visit.barred is not None:
                raise SessionGone(*visit.barred)
            return new
        if not session.changed() and not lifecycle.due(record, visit.carried, now, self.config):
            return None
        by_time = may_rotate and lifecycle.rotation_due(record, visit.carried, now, self.config)
        return self._draft_change(visit, record.secret_hash if by_time else None)

    async def commit(self, visit: Visit, draft: Draft | None = None, *, may_rotate: bool = True) -> None:
        """Store what changed.

        Args:
            visit: the request's.
            draft: of this visit, when there is one already.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionGone: the session ended meanwhile; nothing was written.
            StoreUnavailable: nothing is known to be stored.
            SessionTooLarge, NotStorable: what the handler put in cannot be stored.
        """
        draft = draft or self.draft(visit, may_rotate=may_rotate)
        if draft is None:
            return
        if isinstance(draft.change, Create):
            await self._create(visit, draft)
        else:
            # Drafted anew, it rotates only if nobody has done so meanwhile: twice is once.
            rotation = draft.change.rotation
            rotates_from = rotation.expected_hash if rotation is not None else None
            before = visit.session.record
            saved = await self._atomic.save(visit.session, draft, lambda: self._draft_change(visit, rotates_from))
            await self._order_after(visit, saved)
            if draft.change.ip is not None and self.on_move is not None and before is not None and before.user:
                await self.on_move(before, visit.moment)

    def _draft_new(self, visit: Visit, user: str | None = None) -> Draft | None:
        delta = visit.session.delta()
        if not delta.set and user is None:
            return None
        token = new_token()
        record = lifecycle.make(token.handle, token.secret_hash, delta, visit.moment, self.config, user)
        record = msgspec.structs.replace(record, data=dict(self._codec.seal_all(token.handle, delta.set)))
        return Draft(Create(record=record), delta, token)

    def _draft_change(self, visit: Visit, rotates_from: bytes | None, user: str | None = None) -> Draft | None:
        """A change of a stored session, with a new token at a log-in or while its secret is still ``rotates_from``."""
        session, moment, token, rotate = visit.session, visit.moment, None, None
        record, delta = base(session), session.delta()
        if user is not None or record.secret_hash == rotates_from:
            token = new_token(record.handle)
            grace = None if user is not None else self.config.seconds("rotation_grace")
            rotate = lifecycle.rotation(record, token.secret_hash, visit.carried, moment.now, grace)
        change = lifecycle.plan(
            record, visit.carried, self._atomic.sealed(record, delta), moment, self.config, rotate, user
        )
        return Draft(change, delta, token) if change is not None else None

    async def _create(self, visit: Visit, draft: Draft | None) -> None:
        if draft is None or draft.token is None or not isinstance(draft.change, Create):
            return
        if await self._saves.ask(draft.change) is not Outcome.SAVED:
            raise StoreUnavailable(self.store.backend, "it refused the handle of a new session")
        visit.session.settle(draft.change.record, draft.delta, transform=self._atomic.transform)
        self._order_token(visit, draft.token)

    async def _change(self, visit: Visit, again: Callable[[], Draft | None]) -> None:
        await self._order_after(visit, await self._atomic.save(visit.session, again(), again))

    async def _order_after(self, visit: Visit, saved: Draft | None) -> None:
        """Order the cookie that follows from what was saved, if any does."""
        if saved is None or not isinstance(saved.change, Change):
            return
        if saved.token is not None:
            self._order_token(visit, saved.token)
            return
        cookie, record = visit.presented, visit.session.record
        if cookie is None or record is None:
            return
        renews = not cookie.signed_by_newest or (record.persistent and saved.change.expires_at is not None)
        if renews and await self._is_newest(cookie):
            self._order(visit, self.cookies.renew(cookie, secure=visit.secure))

    async def _is_newest(self, cookie: Presented) -> bool:
        """Whether no sign-in replaced this token while its request ran: renewed, it would overwrite the signed-in cookie."""
        try:
            found, not_before = await self._loads.ask(cookie.handle)
        except StoreError:
            # What the visitor changed is stored; the cookie can be renewed by the next request.
            return False
        return lifecycle.judge(found, cookie.secret_hash, self.clock(), not_before).verdict is Verdict.LIVE

    def _order_token(self, visit: Visit, token: Issued) -> None:
        """Order the cookie with a new token; from now on this visit speaks for that."""
        value = self.cookies.sign(token.text, secure=visit.secure)
        visit.presented = Presented(token.handle, token.secret_hash, value, signed_by_newest=True)
        visit.barred = None
        self._order(visit, value)

    def _order(self, visit: Visit, value: str) -> None:
        record = visit.session.record
        age = lifecycle.max_age(record, visit.moment.now) if record is not None else None
        visit.set_cookie = self.cookies.header(value, max_age=age, secure=visit.secure)

    # --- what handlers ask for -----------------------------------------------------------------------------------

    async def reload(self, visit: Visit) -> None:
        """Drop what is pending and take what is stored now. Raises ``SessionGone`` when the session has ended."""
        record = visit.session.record
        if record is None or visit.presented is None:
            visit.session.reset(None)
            return
        found, not_before = await self._loads.ask(record.handle)
        verdict, _ = lifecycle.judge(found, visit.presented.secret_hash, self.clock(), not_before)
        if verdict not in (Verdict.LIVE, Verdict.PREVIOUS) or not isinstance(found, Record):
            raise SessionGone(record.handle)
        visit.session.reset(found)

    async def rotate(self, visit: Visit, *, at_once: bool = False) -> None:
        """Give the session a new token; the old one works for the grace only. One that is not stored needs none.

        Args:
            visit: the request's.
            at_once: the old one is dead at once, as at a new log-in of its user; a visitor's is not.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        record = visit.session.record
        if record is None:
            return
        if at_once and record.user is not None:
            await self._change(visit, lambda: self._draft_change(visit, None, record.user))
            return
        may = lifecycle.may_rotate(record, visit.carried, visit.moment.now)
        rotates_from = record.secret_hash if may else None
        await self._change(visit, lambda: self._draft_change(visit, rotates_from))

    async def log_in(self, visit: Visit, user: str, lifetime: Lifetime | None = None) -> None:
        """Make the session a user's: always a new token, the old one dead at once; what a visitor had put in is kept.

        Args:
            visit: the request's.
            user: the user's id.
            lifetime: how long this session lives; ``None``: as configured.

        Raises:
            TooManySessions: the user has as many as the configuration allows, and it refuses the newest.
            StoreUnavailable: nobody was logged in.
        """
        if visit.session.user not in (None, user):
            # Another user's values are nobody else's business.
            await self.end(visit)
        await self._end_rivals(visit)
        await self._limit.check(user, visit.session.handle)
        await self._sign_in(visit, user, lifetime)
        try:
            await self._limit.enforce(user, visit.session.handle or "", visit.moment.now)
        except TooManySessions:
            await self.end(visit, Cause.EVICTED)
            raise

    async def _sign_in(self, visit: Visit, user: str, lifetime: Lifetime | None) -> None:
        _give_lifetime(visit.session, lifetime)
        if visit.session.record is not None:
            try:
                await self._change(visit, lambda: self._draft_change(visit, None, user))
            except SessionGone:
                # What was destroyed stays destroyed: the log-in begins a new session.
                visit.session.reset(None)
                _give_lifetime(visit.session, lifetime)
            else:
                return
        await self._create(visit, self._draft_new(visit, user))

    async def end(self, visit: Visit, cause: Cause = Cause.LOGOUT) -> None:
        """Destroy the session and clear its cookie; the visit goes on with a new, empty one."""
        record = visit.session.record
        if record is not None:
            await self.destroy(record.handle, cause=cause, by=record.user)
        await self._end_rivals(visit)
        visit.session.reset(None)
        if visit.presented is not None and visit.barred is None:
            visit.set_cookie = self.cookies.header("", max_age=None, secure=visit.secure)
        visit.presented = None

    async def _end_rivals(self, visit: Visit) -> None:
        """End the sessions whose cookies came together: the browser may go on sending them, and they must not lock it out."""
        rivals, visit.rivals = visit.rivals, []
        if rivals:
            await self.destroy_many(rivals, cause=Cause.LOGOUT)

    async def values_of(self, handle: str) -> dict[str, JSONValue] | None:
        """What is in a live session, for an operator who may look; ``None`` when there is none.

        A value that cannot be decoded is ``None``.
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

    async def _load(self, handles: list[str]) -> list[tuple[Record | Tombstone | None, float] | Exception]:
        await self.open()
        loaded = await self.store.load(handles, self.clock())
        return [(found, loaded.not_before) for found in loaded.records]

    async def _save(self, changes: list[Create | Change]) -> Sequence[Answer | Exception]:
        await self.open()
        return await self.store.save(changes)


def _give_lifetime(session: Session, lifetime: Lifetime | None) -> None:
    if lifetime is not None:
        session.set_lifetime(lifetime.seconds, idle_timeout=lifetime.idle_timeout, persistent=lifetime.persistent)
