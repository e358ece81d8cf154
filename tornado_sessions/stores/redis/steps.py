"""Steps along the indexes: the next entries of all buckets together, in order.

It must not know queries or what an entry stands for. An entry that no session can have written is left out and removed.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from heapq import merge
from typing import NamedTuple

from tornado_sessions.drivers.redis import Client
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.stores.cursor import Place
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.keys import Keys, Listing, time_of, unescaped

__all__ = ["Entry", "Step", "step", "step_by_end"]

_ORDER = 17
#: Scores of the index by expiry are cut to this; a cursor cannot hold infinity.
_LATEST = 1e300


class Entry(NamedTuple):
    """An entry of a list.

    Attributes:
        text: the entry without the list's prefix.
        handle: of the session.
        at: the time that the entry is ordered by, in UTC seconds.
        place: where it stands, for an entry of the index by expiry.
    """

    text: bytes
    handle: str
    at: float = 0.0
    place: Place | None = None

    def stands(self, *, last: bool) -> Place:
        """Its place in the list: a name, if there is one, and the order."""
        if self.place is not None:
            return self.place
        name = self.text.rpartition(b"\0")[0]
        return Place(last=last, name=unescaped(name), at=-self.at, handle=self.handle)


class Step(NamedTuple):
    """A few entries of a list, in order; where the next step begins, and whether the list ends here."""

    entries: list[Entry]
    reached: bytes
    is_end: bool


async def step(client: Client, keys: Keys, listing: Listing, after: bytes, many: int) -> Step:
    """About this many of the next entries of all buckets together, in order, at least one."""
    start, end = (b"(" if after else b"[") + listing.prefix + after, b"(" + listing.prefix + b"\xff"
    parts = keys.parts(listing)
    # Over-fetch from each bucket. If one is truncated, merge only up to its last entry.
    share = 2 * many // len(parts) + 8
    found = await client.read([("ZRANGEBYLEX", key, start, end, "LIMIT", 0, share) for key in parts])
    lists = [answers.texts(answer) for answer in found]
    reached = min((texts[-1] for texts in lists if len(texts) == share), default=None)
    merged = [text for text in merge(*lists) if reached is None or text <= reached]
    entries, damaged = [], []
    for text in merged:
        entry = _entry_of(text[len(listing.prefix) :])
        if entry is None:
            damaged.append(text)
        else:
            entries.append(entry)
    if damaged:
        # No session can have written these, so no session is lost with them.
        with suppress(StoreUnavailable):
            await client.write(*(("ZREM", key, *damaged) for key in parts))
    return Step(entries, merged[-1][len(listing.prefix) :] if merged else after, reached is None)


def _entry_of(text: bytes) -> Entry | None:
    """An entry without its prefix: a name and NUL if there is one, the order, the handle; ``None`` if it is none."""
    tail = text[text.rfind(b"\0") + 1 :]
    try:
        handle = tail[_ORDER:].decode()
        return Entry(text, handle, time_of(tail[:_ORDER])) if handle and tail[:_ORDER].isdigit() else None
    except ValueError:
        return None


async def step_by_end(
    client: Client, keys: Keys, after: Place | None, now: float, many: int
) -> tuple[list[Entry], Place | None]:
    """The next sessions by when they expire, and the place of the last."""
    start = f"({now!r}" if after is None else repr(after.at)
    behind: list[Place] = []
    left, skipped, had = keys.expiries, 0, Counter[str]()
    # Sessions that expire at the same moment come in order of their handles, but a range cannot begin at a handle.
    while left:
        commands = [("ZRANGEBYSCORE", key, start, "+inf", "WITHSCORES", "LIMIT", skipped, many) for key in left]
        more: list[str] = []
        for key, answer in zip(left, await client.read(commands), strict=True):
            places = _places_by_end(answers.texts(answer))
            new = [place for place in places if after is None or place > after]
            behind += new
            had[key] += len(new)
            if had[key] < many == len(answer) // 2:
                more.append(key)
        left, skipped = more, skipped + many
    behind = sorted(behind)[:many]
    return [Entry(b"", place.handle, place.at, place) for place in behind], behind[-1] if behind else after


def _places_by_end(answer: list[bytes]) -> list[Place]:
    """The places of handles that alternate with their scores; what is no handle is left out."""
    places = []
    for handle, score in zip(answer[::2], answer[1::2], strict=False):
        with suppress(UnicodeDecodeError):
            at = max(-_LATEST, min(_LATEST, answers.score(score)))
            places.append(Place(last=False, name="", at=at, handle=handle.decode()))
    return places
