"""``Sessions``: fetch a record, ask the rules, store what changed, tell the cookie.

It must not know Tornado's handlers; ``mixin`` calls it at the right moments. Everything that can wait for a store is here
or below.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.batching import Batcher
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.config import SessionConfig
from tornado_sessions.cookie import Cookies, Issued, Presented, new_token
from tornado_sessions.directory import Directory
from tornado_sessions.errors import ConfigError, SessionGone, StoreUnavailable, TooManySessions
from tornado_sessions.lifecycle import Delta, Lifetime, Moment, Verdict
from tornado_sessions.proxies import Proxies
from tornado_sessions.record import Cause, Change, Conflict, Create, Facts, Outcome, Record, Tombstone
from tornado_sessions.session import Session
from tornado_sessions.stores import Store, open_store
from tornado_sessions.stores.apply import merge

__all__ = ["Sessions", "Visit"]

logger = logging.getLogger("tornado_sessions")
security = logging.getLogger("tornado_sessions.security")

# Attempts at one atomic change before the store counts as too busy; in one process a lock keeps it at one.
_ATTEMPTS = 100
_SHORT_SECRET = 16

Answer = Outcome | Conflict


class Visit:
    """One request's dealings with its session: what it carried, and what its cookie shall become.

    Attributes:
        session: what the handler uses.
        carried: hash of the secret that the request carried, ``None`` without a valid cookie.
        presented: the cookie that this visit speaks for: the request's, or the one ordered since.
        moment: when and from where the request came.
        secure: whether it came over https.
        set_cookie: the ``Set-Cookie`` header that the response must carry, if any.
    """

    def __init__(self, session: Session, presented: Presented | None, moment: Moment, *, secure: bool) -> None:
        self.session = session
        self.carried = presented.secret_hash if presented is not None else None
        self.presented = presented
        self.moment = moment
        self.secure = secure
        self.set_cookie: str | None = None


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
        self.proxies = Proxies(config.trusted_proxies)
        self._codec = Codec(config.keys("encryption_key"))
        deadline = float(config.store_timeout)  # type: ignore[arg-type]
        self._loads: Batcher[str, tuple[Record | Tombstone | None, float]] = Batcher(
            self._load, self.store.backend, deadline
        )
        self._saves: Batcher[Create | Change, Answer] = Batcher(self._save, self.store.backend, deadline)
        # Atomic changes of one session take turns in a process: otherwise n at once would need n² attempts.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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
            session = Session(found, self._codec, self.config.max_size, transform=self._transform)
            return Visit(session, presented, moment, secure=secure)
        if verdict is Verdict.STALE:
            await self._report_theft(presented.handle)
        return self.visitor(moment, secure=secure, presented=presented, ended=ended)

    async def _report_theft(self, handle: str) -> None:
        security.warning("session %s: a secret that was rotated away was presented; it may be stolen", handle)
        if self.config.end_on_theft:
            await self.destroy(handle, cause=Cause.THEFT)

    # --- the way out ---------------------------------------------------------------------------------------------

    def pending(self, visit: Visit) -> bool:
        """Whether a commit of this visit would write."""
        record = visit.session.record
        if visit.session.changed():
            return record is not None or bool(visit.session.delta().set)
        return record is not None and lifecycle.due(record, visit.carried, visit.moment.now, self.config)

    async def commit(self, visit: Visit, *, may_rotate: bool = True) -> None:
        """Store what changed.

        Args:
            visit: the request's.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionGone: the session ended meanwhile; nothing was written.
            StoreUnavailable: nothing is known to be stored.
            SessionTooLarge, NotStorable: what the handler put in cannot be stored.
        """
        record = visit.session.record
        if record is None:
            await self._create(visit)
            return
        by_time = may_rotate and lifecycle.rotation_due(record, visit.carried, visit.moment.now, self.config)
        await self._change(visit, float(self.config.rotation_grace) if by_time else None)  # type: ignore[arg-type]

    async def _create(self, visit: Visit, user: str | None = None) -> None:
        delta = visit.session.delta()
        if not delta.set and user is None:
            return
        token = new_token()
        sealed = _with_values(delta, self._codec.seal_all(token.handle, delta.set))
        record = lifecycle.make(token.handle, token.secret_hash, sealed, visit.moment, self.config, user)
        if await self._saves.ask(Create(record=record)) is not Outcome.SAVED:
            raise StoreUnavailable(self.store.backend, "it refused the handle of a new session")
        visit.session.settle(record, delta, transform=self._transform)
        self._order_token(visit, token)

    async def _change(self, visit: Visit, grace: float | None, user: str | None = None) -> None:
        """Save what is pending, with a new secret when ``grace`` says how long the old one stays good.

        A log-in always gets its own; otherwise who is overtaken by another rotation leaves it at that: the browser gets its
        token from there, and twice is once.
        """
        session, token = visit.session, None
        expected = session.record.secret_hash if session.record is not None else b""

        def make(record: Record, delta: Delta) -> Change | None:
            nonlocal token
            rotate, token = None, None
            if user is not None or (grace is not None and record.secret_hash == expected):
                token = new_token(record.handle)
                stays = None if user is not None else grace
                rotate = lifecycle.rotation(record, token.secret_hash, visit.carried, visit.moment.now, stays)
            return lifecycle.plan(record, visit.carried, delta, visit.moment, self.config, rotate, user)

        async with self._lock(session):
            if not await self._attempt(session, make):
                return
        if token is not None:
            self._order_token(visit, token)
            return
        cookie, record = visit.presented, session.record
        if cookie is not None and record is not None and (record.persistent or not cookie.signed_by_newest):
            self._order(visit, self.cookies.renew(cookie, secure=visit.secure))

    async def _attempt(
        self, session: Session, make: Callable[[Record, Delta], Change | None], forget: str | None = None
    ) -> bool:
        """Save until no other change comes in between; each attempt starts from what is stored. False: nothing to save."""
        for _ in range(_ATTEMPTS):
            record, delta = session.record, session.delta()
            assert record is not None  # noqa: S101 - for the type checker: only stored sessions are changed
            change = make(record, _with_values(delta, self._codec.seal_all(record.handle, delta.set)))
            if change is None:
                return False
            answer = await self._saves.ask(change)
            if answer is Outcome.SAVED:
                session.settle(merge(change, record), delta, forget=forget)
                return True
            if answer is Outcome.GONE:
                raise SessionGone(record.handle)
            session.rebase(answer.record)
        raise StoreUnavailable(self.store.backend, "the session is changed by too many requests at once")

    def _order_token(self, visit: Visit, token: Issued) -> None:
        """Order the cookie with a new token; from now on this visit speaks for that."""
        value = self.cookies.sign(token.text, secure=visit.secure)
        visit.presented = Presented(token.handle, token.secret_hash, value, signed_by_newest=True)
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

    async def rotate(self, visit: Visit) -> None:
        """Give the session a new token; the old one works for the grace only. One that is not stored needs none.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        record = visit.session.record
        if record is None:
            return
        may = lifecycle.may_rotate(record, visit.carried, visit.moment.now)
        await self._change(visit, float(self.config.rotation_grace) if may else None)  # type: ignore[arg-type]

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
        await self._refuse_beyond_limit(visit, user)
        if lifetime is not None:
            visit.session.set_lifetime(lifetime.seconds, persistent=lifetime.persistent)
        try:
            await (self._change(visit, 0.0, user) if visit.session.record is not None else self._create(visit, user))
        except SessionGone:
            # What was destroyed stays destroyed: the log-in begins a new session.
            visit.session.reset(None)
            await self._create(visit, user)
        await self._evict_beyond_limit(visit, user)

    async def end(self, visit: Visit, cause: Cause = Cause.LOGOUT) -> None:
        """Destroy the session and clear its cookie; the visit goes on with a new, empty one."""
        record = visit.session.record
        if record is not None:
            await self.destroy(record.handle, cause=cause, by=record.user)
        visit.session.reset(None)
        if visit.presented is not None:
            visit.set_cookie = self.cookies.header("", max_age=None, secure=visit.secure)
        visit.presented = None

    async def _refuse_beyond_limit(self, visit: Visit, user: str) -> None:
        most = self.config.max_sessions_per_user
        if most is None or self.config.when_exceeded != "refuse":
            return
        if len(await self._others_of(user, visit.session.handle)) >= most:
            raise TooManySessions(user, most)

    async def _evict_beyond_limit(self, visit: Visit, user: str) -> None:
        """Look again after the log-in: two at once would both have passed a look before it."""
        most, own = self.config.max_sessions_per_user, visit.session.handle
        if most is None:
            return
        others = await self._others_of(user, own)
        if self.config.when_exceeded == "end_oldest":
            over = [item.handle for item in others[most - 1 :]]
            if over:
                await self.destroy_many(over, cause=Cause.EVICTED, by=user)
            return
        newest = (visit.moment.now, own or "")
        if sum((item.signed_in_at or 0, item.handle) < newest for item in others) >= most:
            await self.end(visit, Cause.EVICTED)
            raise TooManySessions(user, most)

    async def _others_of(self, user: str, own: str | None) -> list[Facts]:
        """The other live sessions of a user, those used last first."""
        others: list[Facts] = []
        cursor: str | None = None
        while True:
            page = await self.find(user=user, limit=500, cursor=cursor)
            others += [item for item in page.items if item.handle != own]
            cursor = page.next_cursor
            if cursor is None:
                return others

    async def _transform(
        self, session: Session, key: str, function: Callable[[JSONValue], JSONValue], default: JSONValue
    ) -> JSONValue:
        """One guarded write in a loop: it is stored only if the value is still the one that ``function`` saw."""
        now = self.clock()

        def flush(record: Record, delta: Delta) -> Change | None:
            return lifecycle.write(record, delta, now) if delta else None

        def make(record: Record, delta: Delta) -> Change:
            stored = record.data.get(key)
            seen = default
            if stored is not None:
                seen = self._codec.decode(record.handle, self._codec.unseal(record.handle, key, stored))
            new = self._codec.seal(record.handle, key, self._codec.encode(key, function(seen)))
            guarded = Delta(set={**delta.set, key: new}, expect={**delta.expect, key: stored})
            return lifecycle.write(record, guarded, now)

        async with self._lock(session):
            await self._attempt(session, flush)
            await self._attempt(session, make, forget=key)
        return session[key]

    def _lock(self, session: Session) -> asyncio.Lock:
        handle = session.handle or ""
        lock = self._locks.get(handle)
        if lock is None:
            lock = self._locks[handle] = asyncio.Lock()
        return lock

    async def _load(self, handles: list[str]) -> list[tuple[Record | Tombstone | None, float] | Exception]:
        await self.open()
        unique = list(dict.fromkeys(handles))
        loaded = await self.store.load(unique, self.clock())
        found = dict(zip(unique, loaded.records, strict=True))
        return [(found[handle], loaded.not_before) for handle in handles]

    async def _save(self, changes: list[Create | Change]) -> Sequence[Answer | Exception]:
        await self.open()
        return await self.store.save(changes)


def _with_values(delta: Delta, values: dict[str, bytes]) -> Delta:
    """The same delta with its values as the store gets them."""
    return delta if values is delta.set else msgspec.structs.replace(delta, set=values)
