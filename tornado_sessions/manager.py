"""``Sessions``: the facade that an application creates, with the actions of its handlers: log in, log out, rotate, reload.

The steps of every request are in its base classes: ``fetching`` loads a session, ``saving`` stores it. Finding and ending
sessions outside a request is in ``registry``. It must not know Tornado's handlers: ``mixin`` calls it at the right time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tornado_sessions import lifecycle
from tornado_sessions.change import Lifetime, own_lifetime
from tornado_sessions.codec import JSONValue
from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import ConfigError, DecodeError, SessionGone
from tornado_sessions.guarded_saves import stored_record
from tornado_sessions.lifecycle import Verdict
from tornado_sessions.record import Cause, Record
from tornado_sessions.request import RequestSession
from tornado_sessions.saving import CREATE_ATTEMPTS, Rotate
from tornado_sessions.session import Session
from tornado_sessions.session_events import SignedIn, SignedOut
from tornado_sessions.session_limit import SignInUndone
from tornado_sessions.stores import Store, open_store
from tornado_sessions.takeover import Takeover
from tornado_sessions.taking_over import TakingOver
from tornado_sessions.validation import check_user_id

__all__ = ["Sessions"]

security = logging.getLogger("tornado_sessions.security")

_SHORT_SECRET = 16


class Sessions(TakingOver):
    """The sessions of an application. Pass one to ``tornado.web.Application(…, sessions=sessions)``.

    Creating it does no I/O; the store is opened at first use, or by ``await sessions.open()``.

    Args:
        store: a URL for ``open_store``, or a ``Store``.
        secret: signing key, or a list with the newest first. Required, here or in ``config``.
        config: the options.
        clock: returns the time in UTC seconds; tests pass their own.
        takeover: another system whose live sessions move here, such as ``takeover.Express(…)``.

    Raises:
        ConfigError: the URL is wrong, there is no secret, or an argument has a wrong type.
    """

    def __init__(
        self,
        store: str | Store,
        secret: str | Sequence[str] | None = None,
        config: SessionConfig | None = None,
        clock: Callable[[], float] = time.time,
        takeover: Takeover | None = None,
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
        if takeover is not None and not isinstance(takeover, Takeover):
            raise ConfigError(f"takeover must be a Takeover, such as Express(…), not of type {type(takeover).__name__}")
        super().__init__(opened, config, clock, secrets, takeover)
        #: The URL of the store; ``None`` for a store that was passed as an object. It may contain a password.
        self.store_url = store if isinstance(store, str) else None

    async def reload(self, request: RequestSession) -> None:
        """Drop unsaved changes and load the session again. Raises ``SessionGone`` if the session has ended."""
        record = request.session.record
        if record is None or request.presented is None:
            request.session.reset(None)
            return
        found, not_before = await self._loads.ask(record.handle)
        # Judge again: the token of this request may have been replaced in the meantime.
        verdict, _ = lifecycle.judge(found, request.presented.secret_hash, self.clock(), not_before)
        if verdict not in (Verdict.LIVE, Verdict.PREVIOUS) or not isinstance(found, Record):
            raise SessionGone(record.handle)
        request.session.reset(found)

    async def rotate(self, request: RequestSession, *, at_once: bool = False) -> None:
        """Give the session a new token, as ``SessionMixin.rotate_session`` does. Does nothing for a session that is not stored."""
        record = request.session.record
        if record is None:
            return
        rotate = None
        if at_once:
            rotate = Rotate(at_once=True)
        elif lifecycle.may_rotate(record, request.carried, request.info.now):
            rotate = Rotate(record.secret_hash)
        await self._change(request, rotate)

    async def _change(self, request: RequestSession, rotate: Rotate | None) -> None:
        await self._save(request, self._plan(request, request.session.delta(), rotate), rotate)

    async def log_in(self, request: RequestSession, user: str, lifetime: Lifetime | None = None) -> None:
        """Log ``user`` in, as ``SessionMixin.log_in`` does, with the same errors. A visitor's values are kept."""
        user = check_user_id(user)
        if lifetime is not None:
            lifetime = own_lifetime(lifetime.seconds, lifetime.idle_timeout, lifetime.persistent)
        if request.session.user not in (None, user):
            # One user must not inherit another user's values.
            await self.end(request)
        await self._end_rivals(request)
        _give_lifetime(request.session, lifetime)
        try:
            await self._sign_in(request, user, lifetime)
            self._emit(SignedIn, stored_record(request.session), request.info)
        except SignInUndone:
            # The error page must not set the cookie of a session that has just been ended.
            request.session.reset(None)
            request.set_cookie = None
            raise

    async def _sign_in(self, request: RequestSession, user: str, lifetime: Lifetime | None) -> None:
        record = request.session.record
        if record is not None:
            try:
                # The new token prevents session fixation: a planted cookie is worthless after the sign-in.
                async with self._limit.place(user, record.handle):
                    await self._change(request, Rotate(user=user, at_once=True))
            except SessionGone:
                # Ended in the meantime. An ended session never comes back, so the user gets a new one.
                request.session.reset(None)
                _give_lifetime(request.session, lifetime)
            else:
                return
        # A second attempt is needed only if a host with a fast clock has just ended all sessions.
        not_before = 0.0
        for _ in range(CREATE_ATTEMPTS):
            pending = self._plan_new(request, request.session.delta(), user, not_before)
            async with self._limit.place(user, pending.change.handle) as place:
                if self._is_created(request, pending, await self._saves.ask(pending.change)):
                    return
                place.is_needed = False
            not_before = await self._not_before(pending)
        raise self._refuses_new()

    async def end(self, request: RequestSession, cause: Cause = Cause.LOGOUT) -> None:
        """Destroy the session and clear its cookie; the request continues with a new, empty one."""
        record = request.session.record
        if record is not None:
            is_ended = await self.destroy(record.handle, cause=cause, by=record.user)
            if is_ended and record.user is not None and cause is Cause.LOGOUT:
                self._emit(SignedOut, record, request.info)
        await self._end_rivals(request)
        request.session.reset(None)
        # A barred request must not clear the cookie: the browser probably holds a newer one.
        if request.presented is not None and request.barred is None:
            request.set_cookie = self.cookies.header("", max_age=None, secure=request.info.secure)
        request.presented = None

    async def _end_rivals(self, request: RequestSession) -> None:
        """End the sessions of conflicting cookies. The browser may keep sending those cookies and must not be locked out."""
        rivals, request.rivals = request.rivals, ()
        if rivals:
            await self.destroy_many(rivals, cause=Cause.LOGOUT)

    async def values_of(self, handle: str) -> dict[str, JSONValue] | None:
        """Return the values of a live session. The caller checks that the operator is allowed to see them.

        Args:
            handle: of the session.

        Returns:
            The values by key, with ``None`` for a value that cannot be decoded. ``None`` if there is no live, readable session
            of that handle.

        Raises:
            UsageError: ``handle`` is not a ``str``.
            StoreUnavailable: the store does not answer.
        """
        found = await self.inspect(handle)
        if not isinstance(found, Record):
            return None
        session = self._session(found)
        values: dict[str, JSONValue] = {}
        for key in session:
            try:
                values[key] = session[key]
            except DecodeError:
                values[key] = None
        return values


def _give_lifetime(session: Session, lifetime: Lifetime | None) -> None:
    if lifetime is not None:
        session.set_lifetime(lifetime.seconds, idle_timeout=lifetime.idle_timeout, persistent=lifetime.persistent)
