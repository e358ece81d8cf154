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
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.roles import Role

__all__ = ["Check", "Grade", "effective_settings", "self_check"]

_SHORT = 32


class Grade(StrEnum):
    """How bad it is."""

    GOOD = "good"
    NOTE = "note"  #: works, and should be known
    BAD = "bad"  #: live sessions can be lost, or somebody can get in


class Check(NamedTuple):
    """One finding."""

    grade: Grade
    sentence: Message


async def self_check(sessions: Sessions, accounts: Accounts) -> list[Check]:
    """Everything worth saying, the worst first."""
    found = [*await _of_store(sessions), *_of_config(sessions.config), *await _of_staff(accounts)]
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
    secrets = config.keys("secret")
    if min(map(len, secrets)) < _SHORT:
        found.append(_check(Grade.BAD, "a secret has fewer than 32 characters and can be guessed; set a longer one"))
    if not config.keys("encryption_key"):
        found.append(_check(Grade.NOTE, "values are stored in clear: whoever reads the store reads them"))
    if config.secure is False:
        found.append(_check(Grade.BAD, "cookies are sent without TLS as well; remove secure=False"))
    if not config.trusted_proxies:
        text = "no proxy is trusted: behind one, set trusted_proxies, or every session has its address"
        found.append(_check(Grade.NOTE, text))
    return found


async def _of_staff(accounts: Accounts) -> list[Check]:
    found = [user for role in Role if role.is_staff for user in await accounts.with_role(role)]
    staff = [user for user in found if isinstance(user, User)]
    damaged = [
        _check(Grade.NOTE, "the account %s is damaged and cannot be used: %s", user.name, user.why)
        for user in found
        if isinstance(user, DamagedUser)
    ]
    return [*damaged, *_of_sound_staff(staff)]


def _of_sound_staff(staff: list[User]) -> list[Check]:
    acting = [user for user in staff if user.role.at_least(Role.OPERATOR)]
    if not acting:
        return [_check(Grade.NOTE, "there is no operator yet; make one with create-user NAME --role operator")]
    single = [user.name for user in acting if not user.has_two_steps]
    if not single:
        return [_check(Grade.GOOD, "every operator logs in with two steps")]
    return [_check(Grade.NOTE, "a password is enough to become %s; ask for codes at /account", ", ".join(single[:5]))]


def _check(grade: Grade, text: str, *values: str) -> Check:
    return Check(grade, Message(text, values))


def effective_settings(config: SessionConfig) -> dict[str, str]:
    """The options of sessions as they are in force; of secrets only how many there are."""
    shown: dict[str, str] = {}
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if name in ("secret", "encryption_key"):
            keys = config.keys(name)  # type: ignore[arg-type]
            value = f"{len(keys)} of {'/'.join(str(len(key)) for key in keys)} characters" if keys else "none"
        shown[name] = str(value)
    return shown
