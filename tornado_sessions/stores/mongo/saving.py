"""Save changes: one bulk write per batch, with an outcome for each change.

It must not know how sessions end. A change is one update, and its filter contains its guards. A bulk write reports only
how many updates matched, not which; if some did not, the documents are read again to find out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from pymongo import InsertOne, UpdateOne

from tornado_sessions.change import is_live
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import Change, Conflict, Create, Outcome, Record
from tornado_sessions.stores.mongo import documents, updates
from tornado_sessions.stores.mongo.collection import SessionCollection, Stored
from tornado_sessions.stores.mongo.documents import Everybody
from tornado_sessions.stores.mongo.eras import carry_over

__all__ = ["save"]

_DUPLICATE = 11000

Answer = Outcome | Conflict | Exception


async def save(sessions: SessionCollection, changes: Sequence[Create | Change]) -> list[Answer]:
    """Apply changes in order; a round contains at most one change of each session."""
    answers: list[Answer] = [Outcome.GONE] * len(changes)
    waiting = list(range(len(changes)))
    while waiting:
        # Reversed, so that a dict keeps the first position of each handle; the others wait for the next round.
        turn = {changes[place].handle: place for place in reversed(waiting)}
        places = sorted(turn.values())
        try:
            saved: Sequence[Answer] = await _save(sessions, [changes[place] for place in places])
        except StoreUnavailable as error:
            saved = [error] * len(places)
        for place, answer in zip(places, saved, strict=True):
            answers[place] = answer
        waiting = sorted(set(waiting) - set(places))
    return answers


async def _save(sessions: SessionCollection, items: list[Create | Change]) -> list[Answer]:
    """Save one round, with at most one item per session."""
    changes = [item for item in items if isinstance(item, Change)]
    creates = [item for item in items if isinstance(item, Create)]
    answers: dict[str, Answer] = {}
    everybody = sessions.everybody
    if changes or everybody is None:
        # Never update a damaged session: the update could repair one field and hide the damage to others.
        stored, everybody = await sessions.read_shown([item.handle for item in changes])
        damaged = {name for name, document in stored.items() if documents.is_damaged(document)}
        changes = [item for item in changes if item.handle not in damaged]
    creates = [item for item in creates if item.record.created_at >= everybody.not_before]
    if changes or creates:
        answers |= await _write(sessions, creates, changes, everybody)
    saved = [item.record for item in creates if answers[item.handle] is Outcome.SAVED]
    if saved:
        # end_all may have run since the era was read: a session inserted into an older era would be live, but in no list.
        now = await carry_over(sessions, everybody, {"_id": {"$in": [record.handle for record in saved]}})
        answers |= {record.handle: Outcome.GONE for record in saved if record.created_at < now.not_before}
    return [answers.get(item.handle, Outcome.GONE) for item in items]


async def _write(
    sessions: SessionCollection, creates: list[Create], changes: list[Change], everybody: Everybody
) -> dict[str, Answer]:
    # One for all: no two of these changes are of the same session.
    mark = os.urandom(8)
    writes: list[Any] = [InsertOne(updates.to_document(item.record, everybody.live)) for item in creates]
    writes += [UpdateOne(updates.guards(item, everybody.not_before), updates.update(item, mark)) for item in changes]
    refused, matched = await sessions.write(writes)
    # A separate write: a secret stays confirmed even if the change that came with it has a conflict.
    confirmations = [UpdateOne(*found) for item in changes if (found := updates.confirmation(item)) is not None]
    if confirmations:
        await sessions.write(confirmations)
    # A refused update did not match either: its document may have damaged data, which only a full read reveals.
    stored = await sessions.read([item.handle for item in changes]) if matched < len(changes) else None
    answers: dict[str, Answer] = {}
    for number, create in enumerate(creates):
        answers[create.handle] = _refusal(refused[number]) if number in refused else Outcome.SAVED
    for number, item in enumerate(changes, len(creates)):
        answers[item.handle] = _outcome(item, mark, refused.get(number), stored)
    return answers


def _refusal(error: dict[str, Any]) -> Answer:
    if error.get("code") == _DUPLICATE:
        return Outcome.GONE
    return StoreUnavailable("mongodb", str(error.get("errmsg"))[:300])


def _outcome(
    change: Change, mark: bytes, refused: dict[str, Any] | None, found: tuple[Stored, Everybody] | None
) -> Answer:
    if found is None:
        return Outcome.SAVED
    document = found[0].get(change.handle)
    stored = documents.read(document) if document is not None else None
    if not isinstance(stored, Record) or document is None:
        return Outcome.GONE
    if refused is not None:
        return _refusal(refused)
    if updates.is_guarded(change) and mark in document.get("marks", ()):
        return Outcome.SAVED
    if not is_live(stored, change.now, found[1].not_before):
        return Outcome.GONE
    # Without guards, the update of a live session always matches, so this one succeeded.
    return Conflict(stored) if updates.is_guarded(change) else Outcome.SAVED
