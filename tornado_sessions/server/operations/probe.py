"""The probe: create, change and end a session in the store, and receive the event of its end, as requests do.

Settings can look right although an operation fails, for example for want of a permission. It must not know who shows the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from tornado_sessions.cookie import new_token
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import Message
from tornado_sessions.record import Cause, Change, Create, Ending, Outcome, Record
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.operations.self_check import Check, Grade

__all__ = ["probe"]

#: Seconds for which the probe's session lives, its tombstone is kept, and each end may take to be heard.
_LIFETIME, _KEPT, _HEARD = 60.0, 1.0, 1.5
#: The subscription may begin after the first end, so further sessions are ended until one is heard.
_ENDS = 4
_KIND = "probe"


async def probe(sessions: Sessions, documents: DocumentStore) -> list[Check]:
    """Use the stores as requests do. The steps after one that fails are left out.

    Sessions of the probe belong to nobody, end within the call, and leave tombstones for a second.
    """
    steps = list[Check]()
    try:
        async with asyncio.timeout(sessions.config.seconds("store_timeout") + _ENDS * _HEARD):
            await _use_store(sessions, steps)
            await _use_documents(documents, steps)
    except TimeoutError:
        steps.append(_failed("The probe took too long; look at the load of the store and the network to it."))
    except StoreError as error:
        steps.append(_failed("After that, the store refused the probe: %s", str(error)))
    return steps


async def _use_store(sessions: Sessions, steps: list[Check]) -> None:
    store, now = sessions.store, sessions.clock()
    await sessions.open()
    handles = await store.probe_handles() or [new_token().handle]
    created = await store.save([Create(record=_record(handle, now)) for handle in handles])
    _require(store.backend, created, Outcome.SAVED)
    changed = await store.save([Change(handle=handle, now=now, set={"probe": b"2"}) for handle in handles])
    _require(store.backend, changed, Outcome.SAVED)
    loaded = await store.load(handles, now)
    if not all(isinstance(found, Record) and found.data.get("probe") == b"2" for found in loaded.records):
        steps.append(
            _failed("A changed session was not read back: is there a replica behind this address? Use its primary.")
        )
        return
    steps.append(Check(Grade.GOOD, Message.plural(*_CREATED, len(handles))))
    ended = await store.destroy(handles, _ending(now))
    late = await store.save([Change(handle=handle, now=now, set={"probe": b"3"}) for handle in handles])
    _require(store.backend, late, Outcome.GONE)
    if set(ended) != set(handles):
        steps.append(_failed("The store did not end a session; run check again, then look at the log of the store."))
        return
    steps.append(Check(Grade.GOOD, Message("Ended sessions stay ended.")))
    await _hear(sessions, steps)


#: One session for each part of the store, such as a node of a cluster.
_CREATED = (
    "Created, changed and read back %s session.",
    "Created, changed and read back %s sessions, in every part of the store.",
)


async def _hear(sessions: Sessions, steps: list[Check]) -> None:
    """End sessions until the event of one arrives."""
    async with _heard_ends(sessions) as heard:
        for _ in range(_ENDS):
            now, handle = sessions.clock(), new_token().handle
            await sessions.store.save([Create(record=_record(handle, now))])
            await sessions.store.destroy([handle], _ending(now))
            if await _is_heard(heard, handle):
                text = "Received the event of an ended session: open connections of ended sessions are closed."
                steps.append(Check(Grade.GOOD, Message(text)))
                return
    text = (
        "No event of an ended session arrived: connections of ended sessions stay open. "
        "Let the store's user subscribe to its channel."
    )
    steps.append(_failed(text))


async def _is_heard(heard: asyncio.Queue[str | None], handle: str) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEARD):
            while await heard.get() != handle:
                pass
            return True
    return False


@asynccontextmanager
async def _heard_ends(sessions: Sessions) -> AsyncIterator[asyncio.Queue[str | None]]:
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    async def listen() -> None:
        # A lost connection is silence, which the caller notices.
        with suppress(StoreError):
            async with aclosing(sessions.store.events()) as events:
                async for event in events:
                    heard.put_nowait(event.handle)

    listening = asyncio.get_running_loop().create_task(listen())
    try:
        yield heard
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def _use_documents(documents: DocumentStore, steps: list[Check]) -> None:
    key = new_token().handle
    is_put = await documents.put(_KIND, Document(key, 1, b"{}"))
    found = await documents.get(_KIND, key)
    await documents.delete(_KIND, key)
    if is_put and found is not None:
        steps.append(Check(Grade.GOOD, Message("The account store accepts writes.")))
    else:
        steps.append(_failed("The account store did not keep a document: is it a replica? Use its primary."))


def _require(backend: str, outcomes: Sequence[object], wanted: Outcome) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not wanted:
            raise StoreError(backend, f"the answer to a change was {outcome!r} instead of {wanted!r}")


def _record(handle: str, now: float) -> Record:
    token = new_token()
    return Record(
        handle=handle,
        user=None,
        ip="",
        user_agent="self-check",
        created_at=now,
        signed_in_at=None,
        last_seen_at=now,
        expires_at=now + _LIFETIME,
        absolute_at=now + _LIFETIME,
        idle_timeout=_LIFETIME,
        secret_hash=token.secret_hash,
        rotated_at=now,
        confirmed_at=now,
        data={"probe": b"1"},
    )


def _ending(now: float) -> Ending:
    return Ending(at=now, cause=Cause.OPERATOR, by="cli", keep_until=now + _KEPT)


def _failed(text: str, *values: str) -> Check:
    return Check(Grade.BAD, Message(text, values))
