"""The self-check: finds insecure settings and faults of the store, and suggests a remedy for each.

It must not know the pages and commands that show its results.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import NamedTuple

from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.roles import Role

__all__ = ["Check", "Grade", "self_check"]

#: Minimum length of a secret in characters; shorter ones could be guessed.
_MIN_SECRET = 32
#: Maximum number of people listed in one message.
_MAX_NAMED = 5


class Grade(StrEnum):
    """The severity of a finding."""

    GOOD = "good"
    NOTE = "note"  #: works, but operators should know about it
    BAD = "bad"  #: sessions can be lost or stolen


class Check(NamedTuple):
    """One finding."""

    grade: Grade
    sentence: Message


async def self_check(sessions: Sessions, people: People, audit: Audit) -> list[Check]:
    """Return all findings, worst first."""
    found = [
        *await _of_store(sessions),
        *await _of_audit(audit),
        *_of_config(sessions.config),
        *await _of_staff(people),
    ]
    order = list(Grade)
    return sorted(found, key=lambda check: -order.index(check.grade))


async def _of_store(sessions: Sessions) -> list[Check]:
    store, start = sessions.store, time.perf_counter()
    try:
        await sessions.ping()
        taken = 1000 * (time.perf_counter() - start)
        faults, warnings, facts = await store.diagnose()
    except StoreError as error:
        return [_check(Grade.BAD, N_("The store does not answer: %s"), str(error))]
    return [
        _check(Grade.GOOD, N_("The store (%s) answers in %s ms."), store.backend, f"{taken:.1f}"),
        *(Check(Grade.BAD, fault) for fault in faults),
        *(Check(Grade.NOTE, warning) for warning in warnings),
        *(Check(Grade.GOOD, fact) for fact in facts),
    ]


async def _of_audit(audit: Audit) -> list[Check]:
    look = await audit.look()
    if look.all_faults:
        text = N_("The audit log has been altered: %s Run “tornado-sessions audit verify”.")
        return [_check(Grade.BAD, text, str(look.all_faults[0]))]
    return [_check(Grade.GOOD, N_("The audit log ends where its signed head says, with entry %s."), str(look.number))]


def _of_config(config: SessionConfig) -> list[Check]:
    found = []
    if min(map(len, config.keys("secret"))) < _MIN_SECRET:
        found.append(
            _check(Grade.BAD, N_("A secret has fewer than 32 characters and could be guessed. Set a longer one."))
        )
    if not config.keys("encryption_key"):
        found.append(_check(Grade.NOTE, N_("Session data isn't encrypted. Set encryption_key.")))
    if config.secure is False:
        found.append(_check(Grade.BAD, N_("Cookies are also sent without TLS. Remove secure=False.")))
    if not config.trusted_proxies:
        text = N_(
            "No trusted proxies. Behind a proxy, every session shows the proxy's IP address: set trusted_proxies."
        )
        found.append(_check(Grade.NOTE, text))
    return found


async def _of_staff(people: People) -> list[Check]:
    staff = [(role, person) for role in Role if role.is_staff for person in await people.with_role(role)]
    found = [
        _check(Grade.NOTE, N_("The account %s is damaged and can't be used: %s"), person.name, person.damage)
        for _, person in staff
        if person.damage
    ]
    acting = [person for role, person in staff if role.at_least(Role.OPERATOR) and not person.damage]
    password_only = [person.name for person in acting if person.two_steps is False]
    if not acting:
        found.append(
            _check(Grade.NOTE, N_("There is no operator yet. Create one with create-user NAME --role operator."))
        )
    elif password_only:
        message = Message.plural(
            "%s operator (%s) doesn't use two-step verification. Set it up under Account.",
            "%s operators (%s) don't use two-step verification. Set it up under Account.",
            len(password_only),
            ", ".join(password_only[:_MAX_NAMED]),
        )
        found.append(Check(Grade.NOTE, message))
    elif all(person.two_steps for person in acting):
        found.append(_check(Grade.GOOD, N_("All operators use two-step verification.")))
    return found


def _check(grade: Grade, text: str, *values: str) -> Check:
    return Check(grade, Message(text, values))
