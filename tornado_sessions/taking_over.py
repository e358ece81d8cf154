"""``TakingOver``: let in, once, a browser that comes with a live session of another system.

A moved session has a handle that is derived from the foreign id, so requests and processes that move it at the same time use
the same record. Its steps, each of which can be repeated after a crash:

1. Create our record under that handle. Its secret is the foreign cookie, so no cookie of ours is valid yet: it is *pending*.
2. End the foreign session, which leaves a mark there: a request that finds a session or the mark gives our record its first
   secret, and the foreign cookie becomes the previous one. If there is neither, the other system has ended the session, and our
   record is destroyed. Then remove the mark.
3. Answer with our cookie. As at a rotation, the foreign cookie is accepted until ours was first presented plus a short grace, so a
   lost response signs nobody out. After that, and after the session has ended here, it is refused.

The secret is derived from the foreign id and our signing key, so that concurrent requests answer with the same cookie. It must
not know Tornado, or how another system stores its sessions: that is ``takeover``. It has more than 300 lines because its steps
repeat each other's work after a crash.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import string
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar

import msgspec
from typing_extensions import override

from tornado_sessions import lifecycle
from tornado_sessions.change import NO_CHANGES, Delta, Lifetime, apply_change
from tornado_sessions.config import MAX_LIFETIME, SessionConfig
from tornado_sessions.cookie import HANDLE_LENGTH, SECRET_LENGTH, Issued, Presented
from tornado_sessions.errors import NotStorable, SessionError, StoreUnavailable, TooManySessions, UsageError
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.record import Cause, Conflict, Create, Outcome, Record
from tornado_sessions.request import RequestInfo, RequestSession
from tornado_sessions.saving import CREATE_ATTEMPTS, Saving
from tornado_sessions.session_events import TakenOver
from tornado_sessions.session_limit import SessionLimit
from tornado_sessions.stores import Store
from tornado_sessions.takeover import ForeignSession, Takeover
from tornado_sessions.validation import check_user_id, shown

__all__ = ["TakingOver"]

T = TypeVar("T")

logger = logging.getLogger("tornado_sessions")
security = logging.getLogger("tornado_sessions.security")

#: Seconds for which a request waits for another process that has ended the foreign session, and after which that one is dead.
_WAIT, _DEAD_AFTER = 1.0, 10.0
_POLL = 0.05
#: Seconds after which the foreign session is ended once more: a request that was running there may have stored it again.
_AGAIN = (1.0, 5.0, 30.0)
#: Maximum number of remembered handles whose foreign session this process has ended, but whose record is pending.
_MAX_TAKEN = 1000


class TakingOver(Saving):
    """Moves sessions of another system. ``takeover`` reads and ends them; ``None``: there are none."""

    def __init__(
        self,
        store: Store,
        config: SessionConfig,
        clock: Callable[[], float],
        secrets: Sequence[str],
        takeover: Takeover | None,
    ) -> None:
        super().__init__(store, config, clock, secrets)
        self._limit = SessionLimit(self)
        self.takeover = takeover
        self._secrets = secrets
        self._claims: dict[str, asyncio.Task[Record | None]] = {}
        self._taken: dict[str, None] = {}
        self._again: set[asyncio.Task[None]] = set()

    @override
    async def close(self) -> None:
        self._owner()
        # They use both stores.
        await asyncio.gather(*self._claims.values(), return_exceptions=True)
        for task in self._again:
            task.cancel()
        await super().close()
        if self.takeover is not None:
            await self.takeover.close()

    async def take_over(self, request: RequestSession, header: str) -> tuple[RequestSession, str | None]:
        """Let in a request without a session of ours if it carries the cookie of a live foreign one.

        Args:
            request: with a new, empty session.
            header: the ``Cookie`` header.

        Returns:
            The request, with the moved session if there is one, and the ``Set-Cookie`` header that removes the foreign cookie if
            its session has moved.

        Raises:
            StoreUnavailable: a store does not answer, so it is not known whether the browser is let in.
        """
        takeover = self.takeover
        foreign_id = None
        # A barred request belongs to a browser that has a newer cookie of ours.
        if takeover is not None and request.barred is None:
            foreign_id = takeover.read_cookie(header)
        if takeover is None or foreign_id is None:
            return request, None
        request.session.accessed = True
        old = _presented(foreign_id)
        claim = self._claims.get(old.handle)
        if claim is None:
            claim = asyncio.ensure_future(self._claim(takeover, foreign_id, old, request.info))
            self._claims[old.handle] = claim
            claim.add_done_callback(lambda _: self._claims.pop(old.handle, None))
        # Shielded: other requests wait for it, too.
        record = await asyncio.shield(claim)
        found, not_before = await self._loads.ask(old.handle)
        if found is None:
            return request, None
        removal = takeover.clearing_cookie(secure=request.info.secure)
        verdict = lifecycle.judge(found, old.secret_hash, request.info.now, not_before).verdict
        if record is None or not isinstance(found, Record) or verdict not in (Verdict.LIVE, Verdict.PREVIOUS):
            return request, removal
        moved = RequestSession(self._session(found), request.info, old, old.secret_hash)
        for secret in self._secrets:
            token = _token(old.handle, foreign_id, secret)
            # Otherwise the token has been rotated since, and another response brings it to the browser.
            if token.secret_hash == found.secret_hash:
                self._order_token(moved, token)
        return moved, removal

    async def _claim(self, takeover: Takeover, foreign_id: str, old: Presented, info: RequestInfo) -> Record | None:
        """Move a session, or continue a move; return its record, or ``None`` if there is no live one."""
        found, _ = await self._loads.ask(old.handle)
        created = False
        if found is None:
            await takeover.open()
            foreign = await self._within(takeover.read(foreign_id, info.now))
            if foreign is not None:
                try:
                    created = await self._create_moved(foreign, old, info)
                except TooManySessions as error:
                    security.warning("a session of %r was not taken over: %s", takeover, error)
                    return None
            # Without one, another process may have moved it a moment ago.
            found, _ = await self._loads.ask(old.handle)
        if isinstance(found, Record) and found.secret_hash == old.secret_hash:
            await takeover.open()
            return await self._settle(takeover, foreign_id, old, found, info, created=created)
        if found is not None:
            # It has moved. If its mark is left, or the other system has stored it again since, it ends there, too.
            with suppress(SessionError):
                await self._end_for_good(takeover, foreign_id)
        return found if isinstance(found, Record) else None

    async def _within(self, call: Awaitable[T]) -> T:
        """Await a call of the other system's store within the deadline of our own."""
        deadline = self.config.seconds("store_timeout")
        try:
            async with asyncio.timeout(deadline):
                return await call
        except TimeoutError:
            raise StoreUnavailable("takeover", f"no answer within {deadline:g} s") from None

    # --- step 1: create our record -------------------------------------------------------------------------------

    async def _create_moved(self, foreign: ForeignSession, old: Presented, info: RequestInfo) -> bool:
        """Store the pending record; return whether this call did. Raises ``TooManySessions``."""
        user = _user_of(foreign)
        delta = Delta(set=self._fitting(foreign, old.handle), lifetime=self._lifetime_of(foreign))
        not_before = 0.0
        for _ in range(CREATE_ATTEMPTS):
            record = lifecycle.make(old.handle, old.secret_hash, delta, info, self.config, user, not_before)
            record = msgspec.structs.replace(record, data=dict(self._codec.seal_all(old.handle, delta.set)))
            outcome = await self._stored(record)
            if outcome is Outcome.SAVED:
                return True
            found, not_before = await self._loads.ask(old.handle)
            if found is not None:
                return False
        raise self._refuses_new()

    async def _stored(self, record: Record) -> object:
        if record.user is None:
            return await self._saves.ask(Create(record=record))
        # If another process has stored it, the place is that one's too, so it is needed in any case.
        async with self._limit.place(record.user, record.handle):
            return await self._saves.ask(Create(record=record))

    def _fitting(self, foreign: ForeignSession, handle: str) -> dict[str, bytes]:
        """Return the encoded values that fit into a session; log the keys of the others."""
        fitting: dict[str, bytes] = {}
        size = 0
        for key, value in foreign.values.items():
            try:
                plain = self._codec.encode(key, value)  # type: ignore[arg-type]
                size_with = size + len(key.encode()) + len(plain)
            except (NotStorable, UnicodeEncodeError, RecursionError) as error:
                why = str(error) if isinstance(error, NotStorable) else type(error).__name__
                logger.warning("session %s: %s was not taken over: %s", handle, shown(key), why)
                continue
            if size_with > self.config.max_size:
                logger.warning("session %s: %s was not taken over: too large", handle, shown(key))
                continue
            size, fitting[key] = size_with, plain
        return fitting

    def _lifetime_of(self, foreign: ForeignSession) -> Lifetime | None:
        """Return the lifetime of a moved session: that of the other system, where no absolute limit exists, within ours."""
        if foreign.idle_timeout is None:
            return None
        idle = min(foreign.idle_timeout, MAX_LIFETIME)
        persistent = self.config.persistent if foreign.persistent is None else foreign.persistent
        return Lifetime(max(idle, self.config.seconds("absolute_timeout")), persistent, idle)

    # --- step 2: end the foreign session -------------------------------------------------------------------------

    async def _settle(
        self, takeover: Takeover, foreign_id: str, old: Presented, record: Record, info: RequestInfo, *, created: bool
    ) -> Record | None:
        """End the foreign session of a pending record, and give it our secret."""
        if record.handle not in self._taken:
            if await self._within(takeover.end(foreign_id)):
                self._remember_taken(record.handle)
            elif created or takeover.remembers_ends or not self._is_abandoned(record):
                return await self._after_other(old, destroys=created or takeover.remembers_ends)
        if record.user is not None and not await self._within(takeover.admits(record.user)):
            await self.destroy(old.handle, cause=Cause.LOGOUT)
            return None
        token = _token(old.handle, foreign_id, self._secrets[0])
        grace = self.config.seconds("rotation_grace")
        rotation = lifecycle.rotation(record, token.secret_hash, old.secret_hash, info.now, grace)
        change = lifecycle.plan(record, old.secret_hash, NO_CHANGES, info, self.config, rotation)
        assert change is not None  # noqa: S101 - a rotation is always written
        answer = await self._saves.ask(change)
        self._taken.pop(record.handle, None)
        if isinstance(answer, Conflict):
            return answer.record
        if answer is Outcome.GONE:
            return None
        with suppress(SessionError):
            await self._within(takeover.forget(foreign_id))
        self._end_again(takeover, foreign_id)
        whose = f"user {record.user!r}" if record.user is not None else "a visitor"
        security.info("session %s of %s was taken over from %r, from %s", record.handle, whose, takeover, info.ip)
        self._emit(TakenOver, record, info)
        return apply_change(change, record)

    def _remember_taken(self, handle: str) -> None:
        # If our store fails now, the next request must know that it was this process, not the other system, that ended it.
        self._taken[handle] = None
        if len(self._taken) > _MAX_TAKEN:
            del self._taken[next(iter(self._taken))]

    def _is_abandoned(self, record: Record) -> bool:
        """Return whether the process that created a pending record is dead. It has ended the foreign session."""
        return self.clock() - record.rotated_at >= _DEAD_AFTER

    async def _after_other(self, old: Presented, *, destroys: bool) -> Record | None:
        """Wait for the process that ended the foreign session. If there is none, the other system has ended it.

        Args:
            old: the foreign cookie.
            destroys: whether our record is then destroyed. Without a mark, only the call that created it may know.
        """
        for _ in range(round(_WAIT / _POLL)):
            found, _ = await self._loads.ask(old.handle)
            if not isinstance(found, Record):
                return None
            if found.secret_hash != old.secret_hash:
                return found
            await asyncio.sleep(_POLL)
        if not destroys:
            raise StoreUnavailable("takeover", "another process is moving this session")
        # An ended session never comes back.
        await self.destroy(old.handle, cause=Cause.LOGOUT)
        return None

    async def _end_for_good(self, takeover: Takeover, foreign_id: str) -> None:
        await takeover.open()
        if await self._within(takeover.end(foreign_id)):
            await self._within(takeover.forget(foreign_id))

    def _end_again(self, takeover: Takeover, foreign_id: str) -> None:
        """End the foreign session again later: stores of Express insert a session that a late request saves."""

        async def end() -> None:
            for delay in _AGAIN:
                await asyncio.sleep(delay)
                with suppress(SessionError):
                    await self._end_for_good(takeover, foreign_id)

        task = asyncio.ensure_future(end())
        self._again.add(task)
        task.add_done_callback(self._again.discard)


def _user_of(foreign: ForeignSession) -> str | None:
    try:
        return check_user_id(foreign.user) if foreign.user is not None else None
    except UsageError as error:
        security.warning("a user was not taken over: %s", error)
        return None


def _presented(foreign_id: str) -> Presented:
    """Return the token that corresponds to a foreign cookie. No cookie of ours has its secret."""
    text = foreign_id.encode("utf-8", "surrogatepass")
    handle = _word(sha256(b"tornado_sessions takeover handle\0" + text).digest(), HANDLE_LENGTH)
    return Presented(handle, sha256(b"tornado_sessions takeover secret\0" + text).digest(), "", signed_by_newest=True)


def _token(handle: str, foreign_id: str, secret: str) -> Issued:
    """Return the token of a moved session. Whoever lacks our signing key or the foreign id cannot compute it."""
    text = b"tornado_sessions takeover token\0" + foreign_id.encode("utf-8", "surrogatepass")
    word = _word(hmac.digest(secret.encode(), text, "sha512"), SECRET_LENGTH)
    return Issued(handle, sha256(word.encode()).digest(), f"{handle}.{word}")


def _word(digest: bytes, length: int) -> str:
    """Return a digest as letters and digits that start with a letter."""
    number, first = divmod(int.from_bytes(digest, "big"), len(string.ascii_letters))
    word = string.ascii_letters[first]
    symbols = string.ascii_letters + string.digits
    for _ in range(length - 1):
        number, at = divmod(number, len(symbols))
        word += symbols[at]
    return word
