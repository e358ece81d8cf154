"""The self-check: what the settings and the store mean for safety, one sentence each, with the remedy.

It must not know pages or commands; both show it.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import NamedTuple

from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import Message
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.roles import Role

__all__ = ["Check", "Grade", "effective_settings", "self_check"]

#: Shorter secrets can be guessed, in characters.
_MIN_SECRET = 32
#: Maximum number of people that one sentence names.
_MAX_NAMED = 5


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    NOTE = "note"  #: works, but operators should know
    BAD = "bad"  #: live sessions can be lost, or strangers can get in


class Check(NamedTuple):
    """One finding."""

    grade: Grade
    sentence: Message


async def self_check(sessions: Sessions, people: People) -> list[Check]:
    """Return every finding, the worst first."""
    found = [*await _of_store(sessions), *_of_config(sessions.config), *await _of_staff(people)]
    order = list(Grade)
    return sorted(found, key=lambda check: -order.index(check.grade))


async def _of_store(sessions: Sessions) -> list[Check]:
    store, start = sessions.store, time.perf_counter()
    try:
        await sessions.ping()
        taken = 1000 * (time.perf_counter() - start)
        faults, warnings = await store.diagnose()
    except StoreError as error:
        return [_check(Grade.BAD, "the store does not answer: %s", str(error))]
    return [
        _check(Grade.GOOD, "the store (%s) answers in %s ms", store.backend, f"{taken:.1f}"),
        *(Check(Grade.BAD, fault) for fault in faults),
        *(Check(Grade.NOTE, warning) for warning in warnings),
    ]


def _of_config(config: SessionConfig) -> list[Check]:
    found = []
    if min(map(len, config.keys("secret"))) < _MIN_SECRET:
        found.append(_check(Grade.BAD, "a secret has fewer than 32 characters and can be guessed; set a longer one"))
    if not config.keys("encryption_key"):
        found.append(_check(Grade.NOTE, "values are stored in clear: whoever reads the store reads them"))
    if config.secure is False:
        found.append(_check(Grade.BAD, "cookies are sent without TLS as well; remove secure=False"))
    if not config.trusted_proxies:
        text = "no proxy is trusted: behind one, set trusted_proxies, or every session has its address"
        found.append(_check(Grade.NOTE, text))
    return found


async def _of_staff(people: People) -> list[Check]:
    staff = [(role, person) for role in Role if role.is_staff for person in await people.with_role(role)]
    found = [
        _check(Grade.NOTE, "the account %s is damaged and cannot be used: %s", person.name, person.damage)
        for _, person in staff
        if person.damage
    ]
    acting = [person for role, person in staff if role.at_least(Role.OPERATOR) and not person.damage]
    password_only = [person.name for person in acting if person.two_steps is False]
    if not acting:
        found.append(_check(Grade.NOTE, "there is no operator yet; make one with create-user NAME --role operator"))
    elif password_only:
        text = "a password is enough to become %s; ask for codes at /account"
        found.append(_check(Grade.NOTE, text, ", ".join(password_only[:_MAX_NAMED])))
    elif all(person.two_steps for person in acting):
        found.append(_check(Grade.GOOD, "every operator logs in with two steps"))
    return found


def _check(grade: Grade, text: str, *values: str) -> Check:
    return Check(grade, Message(text, values))


def effective_settings(config: SessionConfig) -> dict[str, str]:
    """Return the options of sessions in force; of secrets only their number and lengths."""
    shown: dict[str, str] = {}
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if name in ("secret", "encryption_key"):
            keys = config.keys(name)  # type: ignore[arg-type]
            value = f"{len(keys)} of {'/'.join(str(len(key)) for key in keys)} characters" if keys else "none"
        shown[name] = str(value)
    return shown
