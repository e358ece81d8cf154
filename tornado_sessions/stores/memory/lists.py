"""Read the indexes in memory for ``stores.paging``. It must not know how sessions change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from tornado_sessions.change import is_live
from tornado_sessions.query import Count, Query, Sort, State
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.cursor import SortKey, sort_key
from tornado_sessions.stores.indexes import Index, IndexScan
from tornado_sessions.stores.memory.data import IndexName, MemoryData
from tornado_sessions.stores.requests import MAX_CANDIDATES, Candidates, CountIndex, ProbeRanges, ReadRanges, Row, Rows

__all__ = ["MemoryReader"]

_NAMES: dict[Index, IndexName] = {
    Index.LAST_SEEN: ("all", Sort.LAST_SEEN.value),
    Index.EXPIRES: ("all", Sort.EXPIRES.value),
    Index.SIGNED_IN: ("all", Sort.SIGNED_IN.value),
    Index.USERS: ("all", Sort.USER.value),
    Index.VISITORS: ("visitors", ""),
}


class MemoryReader:
    """Reads indexes for one query."""

    def __init__(self, data: MemoryData, query: Query) -> None:
        self.data = data
        self.query = query

    def scan(self, request: IndexScan) -> Rows:
        """Return the next rows of an index."""
        keys, after = self._keys(request), request.after
        if after is not None:
            # These keys may have a part or, in the order by user, a name that the keys of the index lack.
            after = after._replace(part=0, name=after.name if request.index is Index.USERS else "")
        if request.is_backwards:
            cut = bisect_right if request.includes_after else bisect_left
            end = cut(keys, after) if after is not None else len(keys)
            some = keys[max(0, end - request.limit) : end][::-1]
        else:
            cut = bisect_left if request.includes_after else bisect_right
            start = cut(keys, after) if after is not None else 0
            some = keys[start : start + request.limit]
        rows = [Row(key._replace(part=request.part), self._shown(key.handle)) for key in some]
        return Rows(rows, is_end=len(rows) < request.limit)

    def _keys(self, request: IndexScan) -> Sequence[SortKey]:
        if request.index in (Index.ENDED, Index.ENDED_OF_IP):
            ended = self.data.tombstones.values()
            is_any = request.index is Index.ENDED
            return sorted(sort_key(item, self.query.sort) for item in ended if is_any or item.ip == request.value)
        if request.index is Index.UNPLACED:
            return []
        named = {Index.OF_USER: "user", Index.OF_IP: "ip"}.get(request.index)
        return self.data.lists.get((named, request.value) if named is not None else _NAMES[request.index], [])

    def ranges(self, request: ReadRanges) -> Candidates:
        """Return the sessions in the ranges. There is no index of prefixes: every session, or every user, is examined."""
        handles: list[str] = []
        for field in ("user", "ip", "handle"):
            values = [part.value for part in request.ranges if part.field == field and not part.is_prefix]
            prefixes = tuple(part.value for part in request.ranges if part.field == field and part.is_prefix)
            if prefixes:
                values += [value for value in self._values(field) if value.startswith(prefixes)]
            handles += values if field == "handle" else self._handles_of(field, values)
        if len(handles) > MAX_CANDIDATES:
            return None
        return [item for handle in dict.fromkeys(handles) if (item := self._shown(handle)) is not None]

    def _values(self, field: str) -> Iterable[str]:
        return self.data.records if field == "handle" else (name for kind, name in self.data.lists if kind == field)

    def _handles_of(self, field: str, values: Iterable[str]) -> list[str]:
        return [key.handle for value in values for key in self.data.lists.get((field, value), [])]

    def probe(self, request: ProbeRanges) -> list[bool]:
        """Return for each range whether it has a row."""
        field, length = request.ranges[0].field, len(request.ranges[0].value)
        heads = {value[:length] for value in self._values(field)}
        return [part.value in heads for part in request.ranges]

    def count(self, request: CountIndex) -> Count | None:
        """Return the number of live sessions; ``None`` for any other index, which is counted row by row."""
        if request.scan.index is not Index.LAST_SEEN:
            return None
        return Count(self.data.count_live(self.query.now), exact=True)

    def _shown(self, handle: str) -> SessionSummary | None:
        if self.query.state is State.ENDED:
            ended = self.data.tombstones.get(handle)
            return ended if ended is not None and ended.ending.keep_until > self.query.now else None
        record = self.data.records.get(handle)
        return record if record is not None and is_live(record, self.query.now, self.data.not_before) else None
