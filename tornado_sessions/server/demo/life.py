"""``Life``: what the made-up people do while the demo runs: they use their sessions, stop, and others sign in.

It must not know pages.
"""

from __future__ import annotations

from collections.abc import Iterable

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.query import Query
from tornado_sessions.record import Change, Create, Outcome
from tornado_sessions.server.demo.crowd import Crowd
from tornado_sessions.server.parts import Parts

__all__ = ["Life"]

_INTERVAL = 2.0
#: The fraction of the sessions that are used in each interval: each once in six minutes.
_USED = _INTERVAL / 360
_NEW_AT_ONCE = 50


class Life:
    """Changes the sessions every two seconds until it is stopped; their number stays about the same.

    Args:
        parts: the server's objects, open.
        crowd: the people.
        made: their sessions.
    """

    def __init__(self, parts: Parts, crowd: Crowd, made: Iterable[Create]) -> None:
        self._parts, self._crowd = parts, crowd
        self._records = {item.handle: item.record for item in made}
        self._number = len(self._records)
        self._loop = BackgroundLoop(self._live, _INTERVAL, "the people of the demo do nothing")
        self._loop.start()
        self.stop = self._loop.stop

    async def _live(self) -> None:
        store, now = self._parts.sessions.store, self._parts.sessions.clock()
        used = self._crowd.chance.sample(list(self._records), round(len(self._records) * _USED))
        outcomes = await store.save([self._use(handle, now) for handle in used])
        for handle, outcome in zip(used, outcomes, strict=True):
            if outcome is not Outcome.SAVED:
                del self._records[handle]
        live = (await store.count(Query(now=now))).total
        new = [self._crowd.session(now) for _ in range(min(_NEW_AT_ONCE, self._number - live))]
        await store.save(new)
        self._records.update((item.handle, item.record) for item in new)
        self._parts.activity.count("sign-ins", sum(item.record.user is not None for item in new))

    def _use(self, handle: str, now: float) -> Change:
        record = self._records[handle]
        ends = min(now + record.idle_timeout, record.absolute_at)
        return Change(handle=handle, now=now, last_seen_at=now, expires_at=ends)
