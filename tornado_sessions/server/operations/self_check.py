"""The self-check: finds insecure settings and faults of the store, and suggests a remedy for each.

It must not know the pages and commands that show its results.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from tornado_sessions.config import SessionConfig
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_, Message, Value
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.people import People, PeopleWithRoles
from tornado_sessions.server.roles import Role

__all__ = ["Check", "Grade", "Remedy", "check_of", "self_check", "worst_first"]

#: Maximum number of people listed in one message.
_MAX_NAMED = 5


class Grade(StrEnum):
    """The severity of a finding."""

    GOOD = "good"
    NOTE = "note"  #: works, but operators should know about it
    BAD = "bad"  #: sessions can be lost or stolen


class Remedy(NamedTuple):
    """What to do about a finding.

    Attributes:
        text: names it in two or three words.
        page: the path in the dashboard of the page to go to; empty if there is none.
        own_page: the path of a page of the operator's own account.
        command: the command to run.
    """

    text: str
    page: str = ""
    own_page: str = ""
    command: str = ""


class Check(NamedTuple):
    """One finding.

    Attributes:
        grade: how bad it is.
        sentence: what is so, in a few words.
        detail: further facts; ``None`` if there are none.
        remedy: what to do; ``None`` for a good finding.
        is_fact: whether it only describes the store, for a page with all details.
    """

    grade: Grade
    sentence: Message
    detail: Message | None = None
    remedy: Remedy | None = None
    is_fact: bool = False

    def __str__(self) -> str:
        remedy = self.remedy and ((self.remedy.command and f"Run: {self.remedy.command}") or self.remedy.text)
        first = ": ".join(map(str, filter(None, (self.sentence, self.detail))))
        return " → ".join(filter(None, (first, remedy)))


async def self_check(sessions: Sessions, people: People, audit: Audit) -> list[Check]:
    """Return all findings, worst first."""
    found = [
        *await _of_store(sessions),
        *await _of_audit(audit),
        *_of_config(sessions.config),
        *await _of_staff(people),
    ]
    return worst_first(found)


def worst_first(checks: Sequence[Check]) -> list[Check]:
    """Sort findings by their severity."""
    order = list(Grade)
    return sorted(checks, key=lambda check: -order.index(check.grade))


async def _of_store(sessions: Sessions) -> list[Check]:
    store, start = sessions.store, time.perf_counter()
    remedy = Remedy(N_("What to check"), page="/settings#store", command="tornado-sessions check")
    try:
        await sessions.ping()
        taken = 1000 * (time.perf_counter() - start)
        faults, warnings, facts = await store.diagnose()
    except StoreError as error:
        return [check_of(Grade.BAD, N_("The store does not answer"), "%s", str(error), remedy=remedy)]
    return [
        check_of(Grade.GOOD, Message(N_("Store (%s)"), (store.backend,)), N_("answers in %s ms"), f"{taken:.1f}"),
        *(Check(Grade.BAD, fault, remedy=remedy) for fault in faults),
        *(Check(Grade.NOTE, warning, remedy=remedy) for warning in warnings),
        *(Check(Grade.GOOD, fact, is_fact=True) for fact in facts),
    ]


async def _of_audit(audit: Audit) -> list[Check]:
    look = await audit.look()
    if look.all_faults:
        remedy = Remedy(N_("Check integrity"), page="/audit", command="tornado-sessions audit verify")
        return [Check(Grade.BAD, Message(N_("The audit log has been altered")), look.all_faults[0], remedy)]
    return [check_of(Grade.GOOD, N_("Audit log"), N_("complete up to entry %s"), look.number)]


def _of_config(config: SessionConfig) -> list[Check]:
    many = Message.plural("%s secret, long enough", "%s secrets, all long enough", len(config.keys("secret")))
    found = [Check(Grade.GOOD, Message(N_("Signing keys")), many)]
    if not config.keys("encryption_key"):
        remedy = Remedy(N_("Set encryption_key"), page="/settings#encryption_key")
        detail = N_("readable in the store")
        found.append(check_of(Grade.NOTE, N_("Session data isn't encrypted"), detail, remedy=remedy))
    else:
        found.append(check_of(Grade.GOOD, N_("Session data"), N_("encrypted in the store")))
    if config.secure is False:
        remedy = Remedy(N_("Remove secure=False"), page="/settings#secure")
        found.append(check_of(Grade.BAD, N_("Cookies are also sent without TLS"), remedy=remedy))
    if not config.trusted_proxies:
        remedy = Remedy(N_("Set trusted_proxies"), page="/settings#trusted_proxies")
        detail = N_("behind a proxy, every session shows the proxy's IP address")
        found.append(check_of(Grade.NOTE, N_("No trusted proxies"), detail, remedy=remedy))
    else:
        many = Message.plural("%s trusted", "%s trusted", len(config.trusted_proxies))
        found.append(Check(Grade.GOOD, Message(N_("Proxies")), many))
    return found


async def _of_staff(people: People) -> list[Check]:
    if not isinstance(people, PeopleWithRoles):
        return []
    staff = [(role, person) for role in Role if role.is_staff for person in await people.with_role(role)]
    found = [
        check_of(
            Grade.NOTE,
            Message(N_("The account %s is damaged"), (person.name,)),
            N_("it can't be used: %s"),
            person.damage,
            remedy=Remedy(N_("View operators"), page="/operators"),
        )
        for _, person in staff
        if person.damage
    ]
    acting = [person for role, person in staff if role.at_least(Role.OPERATOR) and not person.damage]
    password_only = [person.name for person in acting if person.two_steps is False]
    if not acting:
        remedy = Remedy(N_("Create one"), command="tornado-sessions create-user NAME --role operator")
        found.append(check_of(Grade.NOTE, N_("There is no operator yet"), remedy=remedy))
    elif password_only:
        sentence = Message.plural(
            "%s operator without two-step verification",
            "%s operators without two-step verification",
            len(password_only),
        )
        named = ", ".join(password_only[:_MAX_NAMED]) + " …" * (len(password_only) > _MAX_NAMED)
        remedy = Remedy(N_("Set up"), own_page="/account")
        found.append(check_of(Grade.NOTE, sentence, "%s", named, remedy=remedy))
    elif all(person.two_steps for person in acting):
        found.append(check_of(Grade.GOOD, N_("Two-step verification"), N_("used by all operators")))
    return found


def check_of(
    grade: Grade, sentence: str | Message, detail: str = "", *values: Value, remedy: Remedy | None = None
) -> Check:
    """Return a finding with a sentence and, optionally, a detail with its values."""
    said = Message(sentence) if isinstance(sentence, str) else sentence
    return Check(grade, said, Message(detail, values) if detail else None, remedy)
