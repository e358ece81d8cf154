"""The past of the demo: accounts, ended sessions, audit entries and fifteen days of activity, all made up.

It must not know pages.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable

from tornado_sessions.record import Cause, Create, Ending
from tornado_sessions.server.accounts.errors import AlreadyTaken
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.demo.crowd import SUSPECT, SUSPECT_NETWORK, Crowd
from tornado_sessions.server.documents import Counters
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.activity import DAY, KEPT_DAYS, MINUTE, QUARTER
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.tops import Tops
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

__all__ = ["fill", "keep_tops_of_yesterday"]

_STAFF = {"oscar": Role.OPERATOR, "ines": Role.ADMIN, "petra": Role.VIEWER}
_CAUSES = [Cause.LOGOUT] * 6 + [Cause.IDLE] * 8 + [Cause.ABSOLUTE] * 2 + [Cause.PASSWORD, Cause.USER, Cause.EVICTED]
_ENDED, _ENDED_TOGETHER, _BATCH = 600, 40, 500
_REASON = "Signed in with stolen passwords, ticket 4711"


async def fill(parts: Parts, crowd: Crowd, sessions: int, operator: str, password: str) -> list[Create]:
    """Fill the stores, and return the live sessions.

    Args:
        parts: the server's objects, open.
        crowd: the people.
        sessions: the number of live sessions.
        operator, password: of the account that may sign in.
    """
    own = await parts.accounts.register(operator, f"{operator}@example.com", password, role=Role.ADMIN)
    for number, name in enumerate([SUSPECT, *crowd.names, *_STAFF]):
        await _add_account(parts, crowd, name, number, own)
    await _end_some(parts, crowd)
    await _write_audit(parts, crowd)
    await _count_activity(parts, crowd)
    return await _save(parts, crowd.sessions(sessions))


async def _add_account(parts: Parts, crowd: Crowd, name: str, number: int, own: User) -> None:
    # All have the hash of the operator's password, because each further one would take a moment. Nobody signs in to them.
    created = crowd.now - 400 * DAY * crowd.chance.random()
    user = User(
        name=name,
        email=f"{name.lower().replace(' ', '')}@example.com",
        role=_STAFF.get(name, Role.USER),
        password_hash=own.password_hash,
        created_at=created,
        password_changed_at=created,
        totp_secret="made up" if number % 3 == 1 else None,
        blocked_until=crowd.now + 5 * 3600 if number % 900 == 7 else None,
    )
    try:
        await parts.accounts.repository.add(user)
    except AlreadyTaken:
        # The names of two people may look alike.
        return


async def _save(parts: Parts, created: Iterable[Create]) -> list[Create]:
    made = list(created)
    for start in range(0, len(made), _BATCH):
        await parts.sessions.store.save(made[start : start + _BATCH])
    return made


async def _end_some(parts: Parts, crowd: Crowd) -> None:
    """End sessions at many times and for many causes; some of them together, by an operator."""
    kept = crowd.now + 7 * DAY
    for _ in range(_ENDED):
        at = crowd.now - 2 * DAY * crowd.chance.random() ** 2
        made = crowd.session(at - 60)
        cause = crowd.chance.choice(_CAUSES)
        await parts.sessions.store.save([made])
        ending = Ending(at=at, cause=cause, by=made.record.user if cause is Cause.USER else None, keep_until=kept)
        await parts.sessions.store.destroy([made.handle], ending)
    together = await _save(parts, (crowd.session(crowd.now - 5400) for _ in range(_ENDED_TOGETHER)))
    ending = Ending(at=crowd.now - 5000, cause=Cause.OPERATOR, by="oscar", reason=_REASON, keep_until=kept)
    await parts.sessions.store.destroy([made.handle for made in together], ending)


async def _write_audit(parts: Parts, crowd: Crowd) -> None:
    """Write entries with past times, by a log of its own that is given the time."""
    at = [crowd.now]
    log = Audit(parts.documents, lambda: at[0], parts.sessions.config.keys("secret"))
    chance = crowd.chance

    async def write(minutes_ago: float, actor: str, act: Action, **fields: str | int) -> None:
        at[0] = crowd.now - 60 * minutes_ago
        by = Actor(actor, "192.0.2.17", user_agent=crowd.agent())
        if act in ENDS_SESSIONS:
            ended = int(fields.pop("ended"))
            await log.perform(by, act, _answering(ended), **fields)  # type: ignore[arg-type]
        else:
            await log.note(by, act, **fields)  # type: ignore[arg-type]

    for number in range(90, 30, -1):
        name = chance.choice(crowd.names)
        act = Action.LOG_IN_FAILED if chance.random() < 0.2 else Action.LOG_IN
        await write(number * 7, name, act, user=name, target="Chrome on Windows")
    await write(180, "ines", Action.CREATE_TOKEN, target="deploy")
    await write(170, "ines", Action.CHANGE_ROLE, user="petra", target="viewer")
    await write(84, "oscar", Action.END_MATCHING, target="ip=198.51.100.0/24", reason=_REASON, ended=_ENDED_TOGETHER)
    await write(60, "oscar", Action.BLOCK, user="tariq", reason="Lost phone")
    await write(59, "oscar", Action.END_USER, user="tariq", reason="Lost phone", ended=3)
    for number in range(12):
        failed = Action.LOG_IN_FAILED if number < 9 else Action.LOG_IN
        await write(50 - number, SUSPECT, failed, user=SUSPECT, target=f"curl from {SUSPECT_NETWORK}")
    await write(20, "petra", Action.REVEAL, user="nadia", reason="Support ticket 4702")
    await log.close()


async def keep_tops_of_yesterday(parts: Parts, crowd: Crowd, tops: Tops) -> None:
    """Remember who had the most sessions a day before: nearly the same as now, except for the suspect."""

    def earlier(top: list[tuple[str, int]]) -> list[tuple[str, int]]:
        found = [(name, 3 if name == SUSPECT else round(many * crowd.chance.uniform(0.85, 1.1))) for name, many in top]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    names = Tops.__struct_fields__
    await parts.census.history.keep(crowd.now - DAY, Tops(**{name: earlier(getattr(tops, name)) for name in names}))


def _answering(number: int) -> Callable[[], Awaitable[int]]:
    async def answer() -> int:
        return number

    return answer


async def _count_activity(parts: Parts, crowd: Crowd) -> None:
    """Count fifteen days of activity: fewer events at night, and a burst of failures since the suspect came."""
    minutes, quarters = Counters(parts.documents), Counters(parts.documents, "quarter", 24)
    slot = int(crowd.now // QUARTER)
    for minute in range((slot - KEPT_DAYS * DAY // QUARTER) * 15, math.ceil(crowd.now / MINUTE)):
        ago = crowd.now / MINUTE - minute
        for name, figure in _figures(crowd, ago).items():
            quarters.add(minute // 15, name, max(0, round(figure)))
            if ago < 120:
                minutes.add(minute, name, max(0, round(figure)))
    await minutes.flush(0)
    await quarters.flush(0)


def _figures(crowd: Crowd, ago: float) -> dict[str, float]:
    """Return the counts of the minute that was ``ago`` minutes ago."""
    chance = crowd.chance
    share = 1 + 0.7 * math.sin((crowd.now / 60 - ago) / 1440 * 2 * math.pi - 2)
    active = 20_000 * (0.96 if ago > 1440 else 1.0) * (1 + 0.3 * (share - _share_now(crowd))) + chance.gauss(0, 30)
    return {
        "sign-ins": chance.gauss(14 * share, 3),
        "failures": chance.gauss(1.5 * share, 1) + (30 * chance.random() if ago < 52 else 0),
        "ended": chance.gauss(12 * share, 3) + (_ENDED_TOGETHER if 84 <= ago < 85 else 0),
        "active": active,
        "users": active * 0.832,
        "visitors": active * 0.168,
        "counts": 1,
        "ping_us": (answer := abs(chance.gauss(900, 120))),
        "pings": 1,
        f"ping {round(math.log(max(answer, 1), 1.15))}": 1,
        "cleanups": 1,
    }


def _share_now(crowd: Crowd) -> float:
    return 1 + 0.7 * math.sin(crowd.now / 86400 * 2 * math.pi - 2)
