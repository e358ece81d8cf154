"""Export lists as CSV (RFC 4180) or as JSON Lines: the lines of a file, page by page.

It must not know requests or where the lines go.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import msgspec

from tornado_sessions.query import Page
from tornado_sessions.record import Damaged, SessionSummary, Tombstone, summary_of
from tornado_sessions.server.display import in_calendar
from tornado_sessions.server.operations.schema import session_item

__all__ = ["MAX_EXPORTED", "MEDIA_TYPES", "csv_line", "rfc3339", "session_lines"]

#: The media types of the kinds of files.
MEDIA_TYPES: Mapping[str, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
#: Maximum number of sessions in a file. One that reaches it ends with a line that says so.
MAX_EXPORTED = 1_000_000
_COLUMNS = (*SessionSummary.__struct_fields__, "ended_at", "cause", "ended_by", "reason", "action", "damage")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

#: Returns the page of a list at a cursor.
Find = Callable[[str | None], Awaitable[Page]]


async def session_lines(find: Find, file_type: str, own: str | None, most: int = MAX_EXPORTED) -> AsyncIterator[str]:
    """Yield the lines of a file with the sessions of a list, one page at a time.

    A session that is used during the export moves in the list: it may be missing, or appear twice.

    Args:
        find: returns the pages.
        file_type: a key of ``MEDIA_TYPES``.
        own: the handle of the operator's session.
        most: the maximum number of sessions.

    Raises:
        StoreUnavailable: a page cannot be read.
    """
    is_csv = file_type == "csv"
    head, cursor, left = csv_line(_COLUMNS) if is_csv else "", None, most
    while True:
        page = await find(cursor)
        some = page.items[:left]
        yield head + "".join(map(_csv_session, some) if is_csv else (_json_session(item, own) for item in some))
        head = ""
        left, cursor = left - len(some), page.next_cursor
        if cursor is None and len(some) == len(page.items):
            return
        if not left:
            yield csv_line([f"cut off after {most} sessions"]) if is_csv else f'{{"cut_off_after":{most}}}\n'
            return


def _json_session(item: SessionSummary, own: str | None) -> str:
    return msgspec.json.encode(session_item(item, own)).decode() + "\n"


def _csv_session(item: SessionSummary) -> str:
    values = {name: rfc3339(value) if name.endswith("_at") else value for name, value in summary_of(item).items()}
    ending = item.ending if isinstance(item, Tombstone) else None
    ended: tuple[str | None, ...] = ("",) * 5
    if ending is not None:
        ended = (rfc3339(ending.at), ending.cause.value, ending.by, ending.reason, ending.action)
    damage = f"damaged: {item.why}" if isinstance(item, Damaged) else ""
    return csv_line((*values.values(), *ended, damage))


def rfc3339(at: object) -> str:
    """Return a time in UTC seconds as text (RFC 3339); empty for an unknown one."""
    return in_calendar(at).isoformat(timespec="milliseconds") if isinstance(at, float) and at else ""


def csv_line(values: Iterable[object]) -> str:
    """Return a line of CSV. Cells that a spreadsheet would run as a formula are prefixed with an apostrophe."""
    line = io.StringIO()
    cells = ["" if value is None else str(value) for value in values]
    csv.writer(line).writerow("'" + cell if _is_formula(cell) else cell for cell in cells)
    return line.getvalue()


def _is_formula(cell: str) -> bool:
    # Some spreadsheets also run cells that start with a full-width sign or with white space before the sign.
    start = unicodedata.normalize("NFKC", cell[:8])
    return start.startswith(_FORMULA) or start.lstrip().startswith(_FORMULA)
