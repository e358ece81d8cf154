"""``Saving``: plan and save the change of a request, and order the cookie that the response must set.

It must not know Tornado's handlers, or how the session was found.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.change import Delta
from tornado_sessions.cookie import Issued, Presented, new_token
from tornado_sessions.errors import SessionError, SessionGone, StoreError, StoreUnavailable
from tornado_sessions.fetching import Fetching
from tornado_sessions.guarded_saves import stored_record
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.record import Change, Create, Outcome
from tornado_sessions.request import PendingSave, RequestSession

__all__ = ["CREATE_ATTEMPTS", "Rotate", "Saving"]

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
            if request.barred is not None:
                raise SessionGone(*request.barred)
            return self._plan_new(request, delta)
        if not delta and not lifecycle.due(record, request.carried, request.info, self.config):
            return None
        rotates = may_rotate and lifecycle.rotation_due(record, request.carried, request.info, self.config)
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
        change, before = pending.change, request.session.record
        if isinstance(change, Create):
            await self._create(request, pending)
            return
        # After a conflict, rotate only if no other request has rotated in the meantime: two rotations count as one.
        rotate = Rotate(change.rotation.expected_hash) if change.rotation is not None else None
        try:
            await self._save(request, pending, rotate)
        except Exception as error:
            # A custom store may raise anything. SessionGone and UsageError are not failures of the store.
            if pending.delta or (isinstance(error, SessionError) and not isinstance(error, StoreError)):
                raise
            self._housekeeping.failed(error)
            return
        self._housekeeping.over()
        if change.ip is not None and before is not None and before.user:
            await self._notify(self.on_move, before, request.info)

    async def _save(self, request: RequestSession, pending: PendingSave | None, rotate: Rotate | None) -> None:
        """Save a change of a stored session, and order a cookie if it needs one."""

        def again() -> PendingSave | None:
            return self._plan(request, request.session.delta(), rotate)

        saved = await self._guarded.save(request.session, pending, again)
        if saved is not None:
            await self._order_after(request, saved)

    def _plan(self, request: RequestSession, delta: Delta, rotate: Rotate | None) -> PendingSave | None:
        """Plan a change of a stored session, with a new token if ``rotate`` asks for one and its guard is met."""
        info, record = request.info, stored_record(request.session)
        token, rotation, user = None, None, None
        if rotate is not None:
            user = rotate.user
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

    async def _create(self, request: RequestSession, pending: PendingSave) -> None:
        """Store a visitor's new session. Raises ``StoreUnavailable``."""
        for _ in range(CREATE_ATTEMPTS):
            if await self._is_created(request, pending):
                return
            # Refused because a host with a fast clock has just ended all sessions: start at the store's not_before.
            pending = self._plan_new(request, pending.delta, not_before=await self._not_before(pending))
        raise self._refuses_new()

    async def _is_created(self, request: RequestSession, pending: PendingSave) -> bool:
        """Try once to store a new session. Return false if the store refuses its handle or its creation time."""
        assert isinstance(pending.change, Create)  # noqa: S101 - for the type checker
        assert pending.token is not None  # noqa: S101
        if await self._saves.ask(pending.change) is not Outcome.SAVED:
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
            self._order_token(request, saved.token)
            return
        cookie, record = request.presented, request.session.record
        if cookie is None or record is None:
            return
        moves_end = record.persistent and isinstance(saved.change, Change) and saved.change.expires_at is not None
        if (moves_end or not cookie.signed_by_newest) and await self._is_newest(cookie):
            self._order(request, self.cookies.renew(cookie, secure=request.info.secure))

    async def _is_newest(self, cookie: Presented) -> bool:
        """Return whether this token is still the newest. If a sign-in has replaced it, renewal would overwrite the new cookie."""
        try:
            found, not_before = await self._loads.ask(cookie.handle)
        except Exception:  # noqa: BLE001 - a store of the application's own may raise anything
            # The handler's changes are stored; the next request can renew the cookie.
            return False
        return lifecycle.judge(found, cookie.secret_hash, self.clock(), not_before).verdict is Verdict.LIVE

    def _order_token(self, request: RequestSession, token: Issued) -> None:
        """Order the cookie with a new token, which becomes the request's own."""
        value = self.cookies.sign(token.text, secure=request.info.secure)
        request.presented = Presented(token.handle, token.secret_hash, value, signed_by_newest=True)
        request.barred = None
        self._order(request, value)

    def _order(self, request: RequestSession, value: str) -> None:
        age = lifecycle.max_age(stored_record(request.session), request.info.now)
        request.set_cookie = self.cookies.header(value, max_age=age, secure=request.info.secure)
