"""Commands for maintenance: the audit log, pruning, the self-check and migration. They must not know how these work."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from tornado_sessions.errors import StoreError
from tornado_sessions.messages import Message
from tornado_sessions.server import migration
from tornado_sessions.server.commands.parsing import Commands, Given, add_json, days, row_count
from tornado_sessions.server.commands.printing import counted, plain, print_json, print_table, progress, utc
from tornado_sessions.server.documents import open_documents
from tornado_sessions.server.key_check import ENCRYPTION, KeyCheck
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.entries import AuditQuery, DamagedEntry, Entry
from tornado_sessions.server.operations.filters import action_named
from tornado_sessions.server.operations.probe import probe
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.operations.self_check import Check, Grade, self_check
from tornado_sessions.server.parts import Parts, head_file
from tornado_sessions.server.secret_file import signing_keys
from tornado_sessions.server.settings import ServerOptions

__all__ = ["add_to", "migrate", "replace_keys"]

_DAY = 86400.0
#: A finding includes its remedy, so it is longer than a cell of a table.
_LONGEST = 1000
_GRADES = {Grade.GOOD: "ok", Grade.NOTE: "note", Grade.BAD: "PROBLEM"}


def add_to(commands: Commands) -> None:
    """Add these commands."""
    log = commands.add("audit", _audit, "list the audit log, or verify that it was not altered")
    log.add_argument("what", nargs="?", choices=["list", "verify"], default="list")
    log.add_argument("--who", default="", help="entries by or about this user")
    log.add_argument("--act", default="", help="entries of this action")
    log.add_argument("--days", type=days, help="only entries of the last days; default: all")
    log.add_argument("--most", type=row_count, default=50, help="maximum number; default: 50")
    log.add_argument(
        "--head", default="", help="verify: a hash that was printed earlier and must still be in the chain"
    )
    add_json(log)
    commands.add("prune", _prune, "remove the records of expired sessions")
    add_json(commands.add("check", _check, "use the stores as requests do, and check them and the settings"))


async def _audit(parts: Parts, given: Given) -> int:
    if given.what == "verify":
        return await _verify(parts, given.head)
    since = parts.sessions.clock() - given.days * _DAY if given.days is not None else None
    query = AuditQuery(who=given.who, act=action_named(given.act), since=since, limit=given.most)
    entries = await parts.audit.entries(query)
    if given.json:
        print_json(map(entry_item, entries))
    else:
        heads = ("ID", "time", "by", "IP address", "action", "target", "ended", "reason", "session", "request ID")
        print_table(map(_row, entries), heads, "There are no such entries.")
    return 0


def _row(entry: Entry) -> tuple[object, ...]:
    action = f"damaged: {entry.why}" if isinstance(entry, DamagedEntry) else entry.act
    about = [plain(text) for text in (entry.actor, entry.ip, action, f"{entry.user} {entry.target}")]
    ended = f"failed: {entry.error}" if entry.error else entry.ended
    origin = [plain(entry.session or "-"), plain(entry.request_id or "-")]
    return (entry.id, utc(entry.at or None), *about, ended, plain(entry.reason), *origin)


async def _verify(parts: Parts, head: str) -> int:
    with progress("entries") as advance:
        found = await parts.audit.verify(head, advanced=advance)
    for fault in found.faults:
        print(fault)
    if not found.knows_head:
        print("the chain does not contain the given hash: entries were removed or rewritten")
    verdict = "whole" if found.is_whole else "BROKEN"
    print(f"{verdict}: {counted(found.entries, 'entry', 'entries')}, head {found.head or '-'}")
    return 0 if found.is_whole else 1


async def _prune(parts: Parts, _given: Given) -> int:
    removed = 0
    with progress("sessions") as advance:
        while step := await parts.sessions.prune_some():
            removed += step
            advance(step)
    print(f"Removed: {removed}")
    return 0


async def _check(parts: Parts, given: Given) -> int:
    try:
        used = await probe(parts.sessions, parts.documents)
        checks = [
            *used,
            *await self_check(parts.sessions, parts.people, parts.audit),
            *await parts.overview.own_checks(),
        ]
    except StoreError as error:
        checks = [Check(Grade.BAD, Message(str(error)))]
    for check in sorted(checks, key=lambda check: list(Grade).index(check.grade)):
        if given.json:
            print(msgspec.json.encode({"grade": check.grade.value, "message": str(check)}).decode())
        else:
            print(f"{_GRADES[check.grade]:8}{plain(str(check), _LONGEST)}")
    return 1 if any(check.grade is Grade.BAD for check in checks) else 0


async def replace_keys(options: ServerOptions) -> int:
    """Make the configured keys the only ones that the installation knows. Return the exit code."""
    documents, keys = open_documents(options.users or options.store), signing_keys(options)
    audit = Audit(documents, time.time, keys, head_file(options))
    try:
        await documents.open()
        # Without the earlier keys the log can no longer be verified, and records that first.
        await audit.note(Actor("cli"), Action.KEYS_REPLACED)
        await KeyCheck(documents, keys).replace()
        await KeyCheck(documents, options.encryption_key, ENCRYPTION).replace()
    finally:
        await audit.close()
        await documents.close()
    print(
        "Replaced the signing keys. Everybody has to sign in again, and two-step verification has to be set up again."
    )
    return 0


async def migrate(source: str, target: str) -> int:
    """Copy everything that lasts from one store URL to another. Return the exit code."""
    found = await migration.migrate(source, target, progress)
    print(f"Copied: {_listed(found.copied)}. Existing ones were left unchanged.")
    always = "the counts of failed attempts, and the networks known from earlier sign-ins"
    print(f"Not copied: {_listed(found.left)}, {always}." if found.left else f"Not copied: {always}.")
    if "damaged session" in found.left:
        print("The users of damaged sessions must sign in again.")
    if "audit entry" in found.left:
        print("The target has an audit log of its own. Keep the old store: its audit log stays there.")
    return 0


def _listed(numbers: Mapping[str, int]) -> str:
    plurals = {"audit entry": "audit entries"}
    return ", ".join(counted(number, name, plurals.get(name, _plural(name))) for name, number in numbers.items())


def _plural(name: str) -> str:
    # "hour of activity counts" has its plural in the middle.
    first, of, rest = name.partition(" of ")
    return f"{first}s{of}{rest}"
