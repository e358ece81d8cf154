"""``ServerVisitors``: who looks at the pages, by their accounts. It must not know forms or templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.account_parts import AccountParts
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import AccountError, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.web.proofs import ProofHandler
from tornado_sessions.server.web.sign_in import start_session

#: Finds the account of a failed sign-in.
FindUser = Callable[[], Awaitable[User | DamagedUser | None]]

__all__ = ["FindUser", "ServerVisitors", "new_client", "proof_fault", "record_failure"]


class ServerVisitors:
    """The people with an account.

    Args:
        parts: the objects behind the pages.
    """

    can_verify = True

    def __init__(self, parts: AccountParts) -> None:
        self._parts = parts

    async def current(self, handler: ProofHandler) -> Person | None:
        """Return the signed-in person. The account is read at each request, so that a withdrawn role stops working at once."""
        user = handler.session.user
        if user is None:
            return None
        found = await self._parts.people.get(user)
        known = found if found is not None and not found.damage else Person(user, user)
        # A session can be started without a password: only what the session itself knows counts.
        return replace(known, id=user, proved_at=0.0)

    async def verify(self, handler: ProofHandler, password: str) -> bool:
        """Check the password, and the code if one is required. Raises ``AccountError`` with ``faults`` of the form's fields."""
        user, client = handler.user_id or "", new_client(handler)
        try:
            await self._parts.accounts.prove(user, password, handler.form_value("code"), client)
        except AccountError as error:
            # For an operator, unlike in one's own settings, a guess is as serious as one at sign-in.
            await record_failure(handler, self._parts, error, lambda: self._parts.accounts.look_up(user))
            if isinstance(error, WrongCredentials):
                # Not 401, which means that the user is not signed in.
                error.status = 400
                error.faults = {"code" if isinstance(error, WrongCode) else "password": proof_fault(error)}
            raise
        return True

    async def sign_in_again(self, handler: ProofHandler, person: Person, proved_at: float) -> None:
        """Give a person whose session has just ended a new one."""
        user = await self._parts.accounts.get(person.id)
        if isinstance(user, User):
            await start_session(handler, user, remember=False, password_at=proved_at)


def new_client(handler: ProofHandler) -> Client:
    """Return where a request comes from, for limits on attempts. Its places in queues are released with its connection."""
    handle, person = handler.session.handle, handler.person
    session = (key_of(person.name), handle) if person is not None and handle is not None else None
    devices, language = handler.kept_value("devices") or "", handler.language.code
    client = Client(handler.client_ip, devices=devices, session=session, language=language)
    handler.when_left.append(client.leave)
    return client


def proof_fault(error: AccountError) -> Message | str:
    """Return the message of an error about what a signed-in user entered as a proof."""
    is_password = isinstance(error, WrongCredentials) and not isinstance(error, WrongCode)
    return N_("The current password is wrong.") if is_password else error.sentence


async def record_failure(handler: ProofHandler, parts: AccountParts, error: AccountError, find: FindUser) -> None:
    """Count and record a failed sign-in.

    It is recorded for unknown names as well: a write takes time, which would reveal whether there is an account. The name is
    left out, because users sometimes type their password into the wrong field.
    """
    if not isinstance(error, WrongCredentials):
        return
    parts.activity.count("failures")
    user = await find()
    if parts.events.may_record(handler.client_ip):
        await handler.record(Action.LOG_IN_FAILED, user.id if user is not None else "")
