"""What commands share: who acts, how filters are read, tables, JSON lines, times.

It must not know any command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import msgspec
from tabulate import tabulate

from tornado_sessions.server.display import in_calendar
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.filters import View, read_view
from tornado_sessions.server.parts import Parts

__all__ = ["CLI", "DAY", "Given", "plain", "print_json", "print_table", "read_filters", "utc"]

DAY = 86400.0
#: Who acts, as far as the audit log can know.
CLI = Actor("cli")
Given = argparse.Namespace


def utc(at: float | None) -> str:
    """A time to the second, in UTC; a dash for none."""
    return f"{in_calendar(at):%Y-%m-%d %H:%M:%S}Z" if at is not None else "-"


def print_table(rows: Iterable[Sequence[object]], heads: Sequence[str]) -> None:
    """A table; its head is for people, not for what reads a pipe."""
    shown = tuple(heads) if sys.stdout.isatty() else ()
    table = tabulate(list(rows), headers=shown, tablefmt="simple" if shown else "plain", disable_numparse=True)
    if table:
        print(table)


def print_json(items: Iterable[object]) -> None:
    """One object a line."""
    for item in items:
        print(msgspec.json.encode(item).decode())


async def read_filters(parts: Parts, given: Given) -> View:
    """The filters of a command line. Raises ``QueryError``."""
    return await read_view(lambda name: getattr(given, name, None) or "", parts.accounts, parts.sessions.clock())


def plain(text: str) -> str:
    """Text of others without what moves a terminal's cursor or turns its writing round."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:80]
