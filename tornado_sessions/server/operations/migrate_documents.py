"""Copy documents other than accounts from one store to another. A run can be interrupted and repeated.

It must not know accounts or sessions, which have copies of their own.
"""

from __future__ import annotations

from typing import NamedTuple

from tornado_sessions.server.documents import Document, DocumentStore, NameTaken
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import AUDIT_KIND
from tornado_sessions.server.operations.audit_head import HEAD_KIND
from tornado_sessions.server.operations.entries import AuditQuery, read_entry, tags_of

__all__ = ["COPIED_KINDS", "LEFT_KINDS", "DocumentsCopied", "copy_documents"]

#: What each copied kind of document is called.
COPIED_KINDS = {
    "token": "API token",
    "job": "job",
    "view": "list of saved views",
    "devices": "list of device names",
    "look": "look of a username",
    "oidc_session": "session at the OpenID provider",
}
#: What is not copied: it lives for minutes, or belongs to one server.
LEFT_KINDS = {
    "tally": "hour of activity counts",
    "quarter": "part of the activity history",
    "tops": "hour of the tops",
    "lease": "lease",
    "setup": "setup link",
    # Copied, these could be used or sent in both stores.
    "link": "one-time link",
    "mail": "mail that is not sent yet",
}


class DocumentsCopied(NamedTuple):
    """The numbers of copied and left documents, by their names."""

    copied: dict[str, int]
    left: dict[str, int]


async def copy_documents(source: DocumentStore, target: DocumentStore) -> DocumentsCopied:
    """Copy what the target does not have. Tokens that were revoked since an earlier run are revoked in the target, too.

    Raises:
        StoreUnavailable: one of the stores failed. Run the copy again.
    """
    copied: dict[str, int] = {}
    left: dict[str, int] = {}
    for kind, name in COPIED_KINDS.items():
        copied[name], left[f"damaged {name}"] = await _copy_kind(source, target, kind)
    copied["audit entry"], left["audit entry"] = await _copy_log(source, target)
    await _revoke(source, target)
    for kind, name in LEFT_KINDS.items():
        left[name] = len(await source.all(kind))
    return DocumentsCopied(copied, {name: number for name, number in left.items() if number})


async def _copy_kind(source: DocumentStore, target: DocumentStore, kind: str) -> tuple[int, int]:
    copied = damaged = 0
    for document in await source.all(kind):
        if document.damage:
            damaged += 1
            continue
        tags, names = await source.links(kind, document.key)
        try:
            copied += await target.put(kind, document._replace(revision=1), tags=tags, names=names)
        except NameTaken:
            continue
    return copied, damaged


async def _copy_log(source: DocumentStore, target: DocumentStore) -> tuple[int, int]:
    """Copy the entries as they are, so that the chain verifies with the same secret. Return the numbers of copied and left ones."""
    copied = left = 0
    after, is_other = "", False
    while page := await source.page(AUDIT_KIND, after=after):
        for entry in page:
            there = await target.get(AUDIT_KIND, entry.key)
            # The target has written a log of its own. Two logs cannot be one chain, so its entries stay alone from here on.
            is_other = is_other or (there is not None and there.body != entry.body)
            if is_other or entry.damage:
                left += 1
            elif there is None:
                copied += await target.put(AUDIT_KIND, entry, tags=tags_of(read_entry(entry)))
        after = page[-1].key
    if not is_other:
        await _copy_head(source, target)
    return copied, left


async def _copy_head(source: DocumentStore, target: DocumentStore) -> None:
    for head in await source.all(HEAD_KIND):
        there = await target.get(HEAD_KIND, head.key)
        newest = await target.page(AUDIT_KIND, after=":", limit=1, backwards=True)
        last = await source.page(AUDIT_KIND, after=":", limit=1, backwards=True)
        # A server that already works with the target has a later head.
        if there is None or [entry.key for entry in newest] == [entry.key for entry in last]:
            revision = there.revision + 1 if there is not None else 1
            await target.put(HEAD_KIND, Document(head.key, revision, head.body))


async def _revoke(source: DocumentStore, target: DocumentStore) -> None:
    """Revoke the tokens that the log of the source calls revoked and that the source no longer has."""
    tag, after = AuditQuery(act=Action.REVOKE_TOKEN).of_log.tag, ""
    while page := await source.page(AUDIT_KIND, tag=tag, after=after):
        for handle in {read_entry(entry).target for entry in page}:
            if handle and await source.get("token", handle) is None:
                await target.delete("token", handle)
        after = page[-1].key
