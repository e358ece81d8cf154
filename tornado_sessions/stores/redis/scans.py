"""Read the next entries of an index from all buckets at once, in order.

It must not know queries or the sessions behind the entries.

Sessions are spread over b buckets by their handles, so that each bucket and its indexes can be on another node of a
cluster. An index is therefore b sorted sets. To return the next n entries, a scan over-fetches from each set and merges:

- If handles are spread evenly, n / b entries of each bucket suffice; fetching about twice that plus 8 makes a second
  round rare. Entries lie in blocks (``blocks.lua``), so whole blocks are read; a block has about 11 entries, and most have 8.
- A bucket that returned as many blocks as requested is truncated: its next entry is unknown, and entries after its last
  one cannot be ordered yet. The merge therefore stops at the smallest last entry of any truncated bucket. No entry is
  skipped, however uneven the spread; the scan only returns fewer entries than requested.
- One pipeline reads all buckets: one round trip, or one per node of a cluster.

Foreign entries may have been written into a set. An entry that cannot belong to a session is removed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from tornado_sessions.drivers.redis.client import Client
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.stores.cursor import SortKey
from tornado_sessions.stores.indexes import IndexScan
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.keys import ALL, Keys, Listing, escaped, order, time_of, unescaped

__all__ = ["Entry", "newest_named", "read_listing", "scan_by_expiry", "scan_listing"]

_ORDER, _EARLIEST = 7, order(0.0)
#: Entries that most blocks have at least.
_BLOCK = 8
#: An entry of a list with names, and of one without; the time may contain NUL, too. Entries follow each other without a gap. Any
#: other bytes are the rest of a damaged block, which is skipped, since an entry might start at each of them.
_NAMED = re.compile(rb"([^\0]*\0.{7}[^\0]*\0)|.+", re.DOTALL)
_UNNAMED = re.compile(rb"(.{8}[^\0]*\0)|.+", re.DOTALL)
# Infinite scores are reduced to this: a cursor cannot represent infinity.
_MAX_SCORE = 1e300


class Entry(NamedTuple):
    """An entry of an index.

    Attributes:
        key: its position.
        text: the entry without the list's prefix; empty in the index of expiries.
    """

    key: SortKey
    text: bytes = b""

    @property
    def at(self) -> float:
        """The time by which the index is ordered, in UTC seconds."""
        return -self.key.at if self.text else self.key.at


async def scan_listing(client: Client, keys: Keys, listing: Listing, request: IndexScan) -> tuple[list[Entry], bool]:
    """Return the next entries of a list, and whether the list ends with them.

    Args:
        client: the connection to the server.
        keys: the keys of the store.
        listing: the list to read.
        request: where to start, in which direction, and the maximum number of entries.
    """
    parts, limit, is_backwards = keys.parts(listing), request.limit, request.is_backwards
    first, last = listing.prefix, listing.prefix + b"\xff"
    if request.after is not None:
        # No entry is the start of another, so a byte more is just behind the entry; \xff also behind a block with this fence.
        behind = b"\xff" if is_backwards else b"\0"
        place = _text_of(listing, request.after) + (b"" if request.includes_after is not is_backwards else behind)
        first, last = (first, place) if is_backwards else (place, last)
    # Twice the fair share, because handles are not spread exactly evenly.
    share = (2 * limit // len(parts) + 8) // (1 if listing.kind == "t" else _BLOCK) + 1
    while True:
        buckets, edges = await _read_blocks(client, parts, (first, last), share, is_backwards=is_backwards)
        # The nearest last entry of a truncated bucket: what comes after it may still be preceded by an unread entry.
        edge = (max if is_backwards else min)(edges, default=None)
        # Faster than heapq.merge, which runs in Python.
        merged = sorted(chain.from_iterable(buckets), reverse=is_backwards)
        if edge is not None:
            merged = [text for text in merged if (text >= edge if is_backwards else text <= edge)]
        is_end = edge is None and len(merged) <= limit
        read = [(text, _entry_of(text[len(listing.prefix) :], has_name=listing.has_names)) for text in merged[:limit]]
        await _remove(client, parts, [text for text, entry in read if entry is None])
        entries = [entry for _, entry in read if entry is not None]
        if entries or is_end:
            return entries, is_end
        # Only damaged entries or blocks: continue after them, in case they could not be removed.
        reached = read[-1][0] if read else edge or b""
        first, last = (first, reached) if is_backwards else (reached + b"\0", last)


async def _read_blocks(
    client: Client, parts: Sequence[str], bounds: tuple[bytes, bytes], share: int, *, is_backwards: bool
) -> tuple[list[list[bytes]], list[bytes]]:
    """Read the next entries of each bucket, in any order.

    Args:
        client: the connection to the server.
        parts: the key of each bucket.
        bounds: the entries wanted start at the first, and are before the second.
        share: the maximum number of blocks of a bucket.
        is_backwards: whether to read from the second bound down.

    Returns:
        The entries of each bucket, and the last one of each bucket that is truncated.
    """
    first, last = bounds
    kind = first[:1]
    if is_backwards:
        commands = [("ZREVRANGEBYLEX", key, b"(" + last, b"[" + kind, "LIMIT", 0, share) for key in parts]
    else:
        # The block before the first bound may contain entries behind it. Two, because one may be foreign.
        commands = [
            command
            for key in parts
            for command in (
                ("ZRANGEBYLEX", key, b"(" + first, b"(" + last, "LIMIT", 0, share),
                ("ZREVRANGEBYLEX", key, b"[" + first, b"[" + kind, "LIMIT", 0, 2),
            )
        ]
    found = list(map(answers.texts, await client.read(commands)))
    buckets, edges = [], []
    each = len(commands) // len(parts)
    for start in range(0, len(found), each):
        blocks = found[start]
        read = [entry for answer in found[start : start + each] for block in answer for entry in _entries_of(block)]
        wanted = [entry for entry in read if first <= entry < last]
        buckets.append(wanted)
        if len(blocks) == share and not (is_backwards and blocks[-1] < first):
            # Unread blocks lie behind every entry that was read.
            edges.append((min if is_backwards else max)(wanted, default=blocks[-1]))
    return buckets, edges


def _entries_of(block: bytes) -> list[bytes]:
    """Return the entries of a block, or the block itself if it is none: a tombstone's entry, or damaged."""
    found = (_NAMED if block[:1] in (b"u", b"i") else _UNNAMED).findall(block)
    if found and not found[-1]:
        found.pop()
    # The first is the fence.
    return found[1:] or [block]


async def read_listing(client: Client, keys: Keys, listing: Listing, limit: int) -> list[Entry]:
    """Return all entries of a list in any order, from at most ``limit`` blocks of each bucket: one round trip, nothing to merge."""
    bounds = (listing.prefix, listing.prefix + b"\xff")
    buckets, _ = await _read_blocks(client, keys.parts(listing), bounds, limit, is_backwards=False)
    size = len(listing.prefix)
    read = [(text, _entry_of(text[size:], has_name=listing.has_names)) for texts in buckets for text in texts]
    await _remove(client, keys.parts(listing), [text for text, entry in read if entry is None])
    return [entry for _, entry in read if entry is not None]


async def newest_named(client: Client, keys: Keys, folded: str, limit: int) -> list[str]:
    """Return the handles that start with a text in lower case, among about ``limit`` sessions that were used last.

    The entries are compared as bytes: to decode each of them would hold up the event loop.
    """
    share = -(-limit // len(keys.listings))
    bounds = (ALL.prefix, ALL.prefix + b"\xff")
    buckets, _ = await _read_blocks(client, keys.listings, bounds, share // _BLOCK + 1, is_backwards=False)
    start, wanted = len(ALL.prefix) + _ORDER, folded.encode()
    end = start + len(wanted)
    texts = (text for texts in buckets for text in sorted(texts)[:share] if text[start:end].lower() == wanted)
    return [text[start:-1].decode("utf-8", "replace") for text in texts]


def _text_of(listing: Listing, key: SortKey) -> bytes:
    """Return the entry with this position."""
    name = escaped(key.name) + b"\0" if listing.has_names else b""
    return listing.prefix + name + order(-key.at) + key.handle.encode() + b"\0"


def _entry_of(text: bytes, *, has_name: bool) -> Entry | None:
    """Decode an entry without its prefix: optionally a name and NUL, then time, handle and NUL; ``None`` if damaged."""
    name, _, tail = text.partition(b"\0") if has_name else (b"", b"", text)
    digits, handle, user = tail[:_ORDER], tail[_ORDER:-1], ""
    if not handle or digits > _EARLIEST or tail[-1:] != b"\0":
        return None
    if name:
        user = unescaped(name)
        # The position is encoded again to continue after it. Invalid UTF-8 would then give another text.
        if escaped(user) != name:
            return None
    try:
        return Entry(SortKey(0, user, -time_of(digits), handle.decode()), text)
    except UnicodeDecodeError:
        return None


async def _remove(client: Client, parts: Sequence[str], damaged: Sequence[bytes]) -> None:
    if damaged:
        # This is only tidying: a server that refuses writes must still serve lists.
        with suppress(StoreUnavailable):
            await client.write(*(("ZREM", key, *damaged) for key in parts))


async def scan_by_expiry(client: Client, keys: Keys, request: IndexScan, now: float) -> tuple[list[Entry], bool]:
    """Return the next sessions by expiry, and whether the index ends with them.

    The score is the time, and entries with the same score are ordered by handle. A range can start at a score but not
    at a handle. To continue after a row, the scan starts at its score and skips the handles up to it; if many sessions
    have that score, it needs several rounds.
    """
    after, limit, is_backwards = request.after, request.limit, request.is_backwards
    start, end = ("+inf", f"({now!r}") if is_backwards else (f"({now!r}", "+inf")
    if after is not None and not (is_backwards and after.at >= _MAX_SCORE):
        start = repr(after.at)
    command = "ZREVRANGEBYSCORE" if is_backwards else "ZRANGEBYSCORE"
    found: list[SortKey] = []
    left, offset, had = keys.expiries, 0, Counter[str]()
    while left:
        commands = [(command, key, start, end, "WITHSCORES", "LIMIT", offset, limit) for key in left]
        unfinished: list[str] = []
        for key, answer in zip(left, await client.read(commands), strict=True):
            new = [place for place in _places_of(answers.texts(answer)) if request.is_due(place)]
            found += new
            had[key] += len(new)
            if had[key] < limit == len(answer) // 2:
                unfinished.append(key)
        left, offset = unfinished, offset + limit
    return [Entry(key) for key in sorted(found, reverse=is_backwards)[:limit]], len(found) < limit


def _places_of(answer: list[bytes]) -> list[SortKey]:
    """Return the positions in a reply of alternating handles and scores, without handles that are not UTF-8."""
    places = []
    for handle, score in zip(answer[::2], answer[1::2], strict=False):
        with suppress(UnicodeDecodeError):
            at = max(-_MAX_SCORE, min(_MAX_SCORE, answers.score(score)))
            places.append(SortKey(0, "", at, handle.decode()))
    return places
