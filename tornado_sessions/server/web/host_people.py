"""``HostPeople``: the users of the application that contains the dashboard, checked and with a time limit.

It must not know pages or accounts of ours.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tornado_sessions.errors import UsageError
from tornado_sessions.messages import Message
from tornado_sessions.server.budgets import Budget, Budgets
from tornado_sessions.server.errors import Refused
from tornado_sessions.server.host_calls import ask_host
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.web.proofs import ProofHandler

__all__ = ["HostPeople", "HostVisitors", "TooManyFailures"]

#: The optional methods of operations that an application may have.
_OPTIONAL = ("page", "search", "block", "with_role", "set_role")
#: Wrong passwords of a person, and the seconds after which their count starts again (OWASP ASVS 5.0, 6.3.1).
_FAILURES, _SECONDS = 10, 900.0


class TooManyFailures(Refused):
    """Too many wrong passwords. The next attempt is allowed in ``retry_after`` seconds."""

    status = 429

    def __init__(self, seconds: float) -> None:
        self.retry_after = max(1, math.ceil(seconds))
        minutes = math.ceil(self.retry_after / 60)
        super().__init__(
            Message.plural(
                "Too many attempts. Try again in %s minute.", "Too many attempts. Try again in %s minutes.", minutes
            )
        )


class HostPeople:
    """The application's ``people`` as operations know them: with ``get``, and the optional methods that it has.

    A call that takes too long, or that fails because of a connection, raises ``StoreUnavailable``.

    Args:
        people: the object of the application.
        timeout: how long a call may take, in seconds.

    Raises:
        UsageError: it has no ``current`` or no ``get``.
    """

    def __init__(self, people: Any, timeout: float) -> None:
        for name in ("current", "get"):
            if not callable(getattr(people, name, None)):
                raise UsageError(f"people needs a method {name}: async def {name}(self, …) -> Person | None")
        self._timeout = timeout
        self._get, self._current = people.get, people.current
        for name in _OPTIONAL:
            if callable(method := getattr(people, name, None)):
                setattr(self, name, self._bounded(method))

    async def get(self, user_id: str) -> Person | None:
        """Return the person with this id, or ``None``."""
        return _checked(await self._bounded(self._get)(user_id), "get")

    async def current(self, handler: ProofHandler) -> Person | None:
        """Return the signed-in person, or ``None``."""
        return _checked(await self._bounded(self._current)(handler), "current")

    def _bounded(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        return partial(ask_host, "people", self._timeout, method)


class HostVisitors:
    """Who looks at the dashboard of an application, and how they prove who they are.

    Args:
        people: the users.
        verify: checks a password; ``None`` if they sign in again elsewhere.
        budgets: counts wrong passwords.
    """

    def __init__(self, people: HostPeople, verify: Callable[..., Awaitable[bool]] | None, budgets: Budgets) -> None:
        self._verify = verify
        self._budgets = budgets
        self.can_verify = verify is not None
        self.current = people.current

    async def verify(self, handler: ProofHandler, password: str) -> bool:
        """Return whether the password is right. Raises ``TooManyFailures``, then without asking the application."""
        if self._verify is None:
            return False
        user = handler.user_id or ""
        budget = Budget(_FAILURES, _SECONDS, ("proof", user))
        # Counted before the answer is known, so that attempts at the same time cannot exceed the budget.
        [total] = await self._budgets.add([budget], [1])
        if total.amount > budget.limit:
            raise TooManyFailures(self._budgets.seconds_left(total))
        if await self._verify(handler, password):
            await self._budgets.add([budget], [-total.amount])
            return True
        handler.parts.activity.count("failures")
        if handler.parts.events.may_record(handler.client_ip):
            await handler.record(Action.PROOF_FAILED, user)
        return False

    async def sign_in_again(self, handler: ProofHandler, person: Person, proved_at: float) -> None:
        """Give a person whose session has just ended a new one. It proves nothing until they enter their password again."""
        await handler.log_in(person.id)
        if proved_at:
            handler.mark_password_given(proved_at, with_code=handler.two_steps)


def _checked(person: object, method: str) -> Person | None:
    if person is not None and not isinstance(person, Person):
        raise UsageError(f"people.{method} must return a Person or None, not {type(person).__name__}")
    if person is not None and (type(person.id) is not str or not person.id):
        raise UsageError(f"people.{method}: Person.id must be a non-empty str, the user of their sessions")
    return person
