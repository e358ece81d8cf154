"""``Saving``: plan and save the change of a request, and order the cookie that the response must set.

It must not know Tornado's handlers, or how the session was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.batching import Answered
from tornado_sessions.change import Delta
from tornado_sessions.cookie import Issued, Presented, new_token
from tornado_sessions.errors import SessionError, SessionGone, StoreError, StoreUnavailable
from tornado_sessions.fetching import Fetching
from tornado_sessions.guarded_saves import Answer, stored_record
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.record import Change, Create, Outcome, Record
from tornado_sessions.request import PendingSave, RequestSession
from tornado_sessions.session_events import Moved, Rotated

__all__ = ["CREATE_ATTEMPTS", "Rotate", "Saving", "Sent"]

#: The answer to a commit that was sent; ``None`` if it must wait for its turn.
Sent: TypeAlias = Answer | None
#: Attempts to store a new session. One fails only if all sessions are ended at the same time by a host with a fast clock.
CREATE_ATTEMPTS = 5


class Rotate(NamedTuple):
    """The options of a rotation.

    Attributes:
        only_from: rotate only if this is the hash of the stored secret; ``None``: in any case.
        at_once: whether the old token stops working at once.
        user: id of the user who signs in with it.
    """

    only_from: bytes | None = None
    at_once: bool = False
    user: str | None = None


class Saving(Fetching):
    """Plans and saves the changes of requests."""

    def may_have_to_save(self, request: RequestSession) -> bool:
        """Return whether ``pending_save`` can have a result; false for nearly every request that only reads."""
        session = request.session
        if session.changes is not None:
            return True
        return session.record is not None and lifecycle.due(session.record, request.carried, request.info, self.config)

    def pending_save(self, request: RequestSession, *, may_rotate: bool = True) -> PendingSave | None:
        """Return the commit of this request; ``None`` if there is nothing to store.

        Args:
            request: the request and its session.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionTooLarge, NotStorable: the handler's changes cannot be stored.
            SessionGone: this request may not start a session without a sign-in.
        """
        record, delta = request.session.record, request.session.delta()
        if record is None:
            # An empty session is never stored, so visitors and bots that only read create nothing.
            if not delta.set:
                return None
            # The browser probably holds a newer cookie, which that of a new session would overwrite. Signing in may do that; the
            # assignment of a value may not.
            if request.barred is not None:
                raise SessionGone(*request.barred)
            return self._plan_new(request, delta)
        info, config = request.info, self.config
        rotates = may_rotate and lifecycle.rotation_due(record, request.carried, info, config)
        return self._plan(request, delta, Rotate(record.secret_hash) if rotates else None)

    async def commit(
        self, request: RequestSession, pending: PendingSave | None = None, *, may_rotate: bool = True
    ) -> None:
        """Store the changes of a request.

        Only the handler's own changes can fail a request. If only housekeeping is pending (touch, address, user agent,
        confirmation, rotation by time) and the store fails, the error is logged and the request continues.

        Args:
            request: the request and its session.
            pending: the result of ``pending_save``, if it was already called.
            may_rotate: whether the response can still carry a cookie.

        Raises:
            SessionGone: the session has ended; nothing was written.
            StoreUnavailable: the store failed; it is unknown whether the changes were written.
        """
        pending = pending or self.pending_save(request, may_rotate=may_rotate)
        if pending is None:
            return
        # Requests that take turns at this session come first: without an answer, ``settle`` lets this one wait for its turn.
        answer: Sent | Exception = None
        if not self._guarded.is_busy(pending.change.handle):
            try:
                answer = await self._saves.ask(pending.change)
            except Exception as error:  # noqa: BLE001 - a custom store may raise anything
                answer = error
        rest = self.settle(request, pending, answer)
        if rest is not None:
            await rest

    def send(self, pending: PendingSave, answered: Answered[Sent]) -> None:
        """Send a commit to the store, together with the others of this turn. The answer is for ``settle``.

        Args:
            pending: the commit.
            answered: called once with the answer or an error, in a later turn of the event loop.
        """
        if self._guarded.is_busy(pending.change.handle):
            # Other requests of this process take turns at the session.
            asyncio.get_running_loop().call_soon(answered, None)
        else:
            self._saves.send(pending.change, answered)

    def settle(
        self, request: RequestSession, pending: PendingSave, answer: Sent | Exception
    ) -> Coroutine[Any, Any, None] | None:
        """Take the answer to a commit: mark it as saved, and order the cookie that the response must set.

        Args:
            request: the request and its session.
            pending: the commit that was sent.
            answer: the store's answer; an error; or ``None`` if it was not sent, because other requests take turns.

        Returns:
            A coroutine for what takes longer: a conflict with another request, the renewal of a cookie, a hook. ``None`` if
            the commit is done, as nearly every one is.

        Raises:
            SessionGone, StoreUnavailable: as ``commit``; so does the coroutine.
        """
        # The order of the cases matters: after an error nothing is known about the session; a new session has no other request yet;
        # others may have changed or ended a stored one.
        change, session = pending.change, request.session
        if isinstance(answer, Exception):
            self._refuse(pending, answer)
            return None
        if isinstance(change, Create):
            return None if self._is_created(request, pending, answer) else self._create_again(request, pending)
        before = session.record
        if before is None:
            # The handler has destroyed the session while the store worked.
            raise SessionGone(change.handle)
        if answer is None or not self._guarded.is_saved(session, pending, answer):
            return self._save_in_turn(request, pending)
        if self._housekeeping.is_failing:
            self._housekeeping.over()
        # The change is stored. A rotated token must reach the browser with this response, so its cookie is ordered at once. A
        # cookie that is only renewed has to wait: the store knows whether a sign-in has replaced its token.
        if pending.token is not None:
            self._order_rotated(request, pending.token)
        elif self._needs_cookie(request, pending) or (change.ip is not None and before.user):
            return self._after_save(request, pending, before)
        return None

    def _refuse(self, pending: PendingSave, error: Exception) -> None:
        """Raise the error of a commit, unless only housekeeping failed: that is logged."""
        # A custom store may raise anything. SessionGone and UsageError are not failures of the store.
        if pending.delta or (isinstance(error, SessionError) and not isinstance(error, StoreError)):
            raise error
        self._housekeeping.failed(error)

    async def _save_in_turn(self, request: RequestSession, pending: PendingSave) -> None:
        """Save a change that conflicted with another request, or that waits for its turn."""
        handle, before = pending.change.handle, stored_record(request.session)
        # Rotate only if no other request has rotated in the meantime: two rotations count as one.
        rotation = pending.change.rotation if isinstance(pending.change, Change) else None
        rotate = Rotate(rotation.expected_hash) if rotation is not None else None
        try:
            saved = await self._guarded.save_in_turn(request.session, handle, self._replan(request, rotate))
        except Exception as error:  # noqa: BLE001 - a custom store may raise anything
            self._refuse(pending, error)
            return
        if saved is not None:
            await self._after_save(request, saved, before)

    async def _save(self, request: RequestSession, pending: PendingSave | None, rotate: Rotate | None) -> None:
        """Save a change of a stored session, and order a cookie if it needs one. Any failure is raised."""
        saved = await self._guarded.save(request.session, pending, self._replan(request, rotate))
        if saved is not None:
            await self._order_after(request, saved)

    def _replan(self, request: RequestSession, rotate: Rotate | None) -> Callable[[], PendingSave | None]:
        return lambda: self._plan(request, request.session.delta(), rotate)

    async def _after_save(self, request: RequestSession, saved: PendingSave, before: Record) -> None:
        await self._order_after(request, saved)
        if isinstance(saved.change, Change) and saved.change.ip is not None and before.user:
            self._emit(Moved, before, request.info, previous_ip=before.ip)

    def _plan(self, request: RequestSession, delta: Delta, rotate: Rotate | None) -> PendingSave | None:
        """Plan a change of a stored session, with a new token if ``rotate`` asks for one and its guard is met."""
        info, record = request.info, request.session.record
        assert record is not None  # noqa: S101 - for the type checker: the session is stored
        token, rotation, user = None, None, None
        if rotate is not None:
            user = rotate.user
            # If another request has just rotated, its token is on the way to the browser: a second one would replace it.
            if rotate.only_from in (None, record.secret_hash):
                token = new_token(record.handle)
                grace = None if rotate.at_once else self.config.seconds("rotation_grace")
                rotation = lifecycle.rotation(record, token.secret_hash, request.carried, info.now, grace)
        sealed = self._guarded.sealed(record, delta)
        change = lifecycle.plan(record, request.carried, sealed, info, self.config, rotation, user)
        return PendingSave(change, delta, token) if change is not None else None

    def _plan_new(
        self, request: RequestSession, delta: Delta, user: str | None = None, not_before: float = 0.0
    ) -> PendingSave:
        token = new_token()
        record = lifecycle.make(token.handle, token.secret_hash, delta, request.info, self.config, user, not_before)
        record = msgspec.structs.replace(record, data=dict(self._codec.seal_all(token.handle, delta.set)))
        return PendingSave(Create(record=record), delta, token)

    async def _create_again(self, request: RequestSession, refused: PendingSave) -> None:
        """Store a visitor's new session after the store refused it once. Raises ``StoreUnavailable``."""
        for _ in range(CREATE_ATTEMPTS - 1):
            # Refused because a host with a fast clock has just ended all sessions: start at the store's not_before.
            refused = self._plan_new(request, refused.delta, not_before=await self._not_before(refused))
            if self._is_created(request, refused, await self._saves.ask(refused.change)):
                return
        raise self._refuses_new()

    def _is_created(self, request: RequestSession, pending: PendingSave, answer: Sent) -> bool:
        """Mark a new session as stored. Return false if the store refused its handle or its creation time."""
        assert isinstance(pending.change, Create)  # noqa: S101 - for the type checker
        assert pending.token is not None  # noqa: S101
        if answer is not Outcome.SAVED:
            return False
        request.session.mark_saved(pending.change.record, pending.delta)
        self._order_token(request, pending.token)
        return True

    async def _not_before(self, refused: PendingSave) -> float:
        """Return the earliest creation time that the store accepts, after a host with a fast clock ended all sessions."""
        return (await self._loads.ask(refused.change.handle))[1]

    def _refuses_new(self) -> StoreUnavailable:
        return StoreUnavailable(self.store.backend, "it refused the handle of a new session")

    async def _order_after(self, request: RequestSession, saved: PendingSave) -> None:
        """Order a cookie if the browser needs one: for a new token, a newer signing key, or a later end of a persistent cookie."""
        if saved.token is not None:
            self._order_rotated(request, saved.token)
            return
        cookie = request.presented
        if cookie is not None and self._needs_cookie(request, saved) and await self._is_newest(cookie):
            self._order(request, self.cookies.renew(cookie, secure=request.info.secure))

    @staticmethod
    def _needs_cookie(request: RequestSession, saved: PendingSave) -> bool:
        """Return whether the browser's cookie has a signature of an older key, or ends too early."""
        cookie, record = request.presented, request.session.record
        if cookie is None or record is None:
            return False
        moves_end = record.persistent and isinstance(saved.change, Change) and saved.change.expires_at is not None
        return moves_end or not cookie.signed_by_newest

    async def _is_newest(self, cookie: Presented) -> bool:
        """Return whether this token is still the newest. If a sign-in has replaced it, renewal would overwrite the new cookie."""
        try:
            found, not_before = await self._loads.ask(cookie.handle)
        except Exception:  # noqa: BLE001 - a store of the application's own may raise anything
            # The handler's changes are stored; the next request can renew the cookie.
            return False
        return lifecycle.judge(found, cookie.secret_hash, self.clock(), not_before).verdict is Verdict.LIVE

    def _order_rotated(self, request: RequestSession, token: Issued) -> None:
        self._order_token(request, token)
        self._emit(Rotated, stored_record(request.session), request.info)

    def _order_token(self, request: RequestSession, token: Issued) -> None:
        """Order the cookie with a new token, which becomes the request's own."""
        value = self.cookies.sign(token.text, secure=request.info.secure)
        request.presented = Presented(token.handle, token.secret_hash, value, signed_by_newest=True)
        request.barred = None
        self._order(request, value)

    def _order(self, request: RequestSession, value: str) -> None:
        age = lifecycle.max_age(stored_record(request.session), request.info.now)
        request.set_cookie = self.cookies.header(value, max_age=age, secure=request.info.secure)
