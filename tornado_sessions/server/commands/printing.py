"""Printing for commands: tables, JSON lines, times, untrusted text and errors. It must not know any command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from tabulate import tabulate
from tqdm import tqdm

from tornado_sessions.server.display import in_calendar

__all__ = ["counted", "plain", "print_error", "print_json", "print_pairs", "print_table", "progress", "utc"]


#: The headings and the line below them.
_HEADING_LINES = 2


def utc(at: float | None) -> str:
    """Return a time in UTC seconds as text; a dash for ``None``."""
    return f"{in_calendar(at):%Y-%m-%d %H:%M:%S}Z" if at is not None else "-"


def print_json(items: Iterable[object]) -> None:
    """Print one JSON object a line."""
    for item in items:
        print(msgspec.json.encode(item).decode())


def print_table(
    rows: Iterable[Sequence[object]], heads: Sequence[str], if_empty: str, *, is_continued: bool = False
) -> None:
    """Print rows below headings.

    Args:
        rows: the cells of each row.
        heads: the heading of each column.
        if_empty: what to print below the headings if there are no rows.
        is_continued: whether the rows follow those of an earlier call, so that the headings stand above them already.
    """
    lines = tabulate(list(rows), headers=heads, tablefmt="simple", disable_numparse=True).splitlines()
    if is_continued:
        lines = lines[_HEADING_LINES:]
    elif len(lines) == _HEADING_LINES:
        lines.append(if_empty)
    for line in lines:
        print(line)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values."""
    print(tabulate(pairs, tablefmt="plain", disable_numparse=True))


@contextmanager
def progress(unit: str, total: int | None = None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on standard error, and yield a function to call with the size of each step.

    ``total`` is the total number, if known; ``done`` is the number already done.
    """
    with tqdm(total=total, initial=done, unit=f" {unit}", file=sys.stderr) as bar:
        yield bar.update


def counted(number: float, one: str, many: str = "") -> str:
    """Return a number with its noun. ``many`` is the plural, if it is not ``one`` with an s."""
    written = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{written} {one if number == 1 else many or one + 's'}"


def print_error(error: Exception) -> int:
    """Print an error to standard error, on one line. Return the exit code."""
    text = error.strerror if isinstance(error, OSError) else None
    print(f"error: {' '.join(str(text or error).split())}", file=sys.stderr)
    return 1


def plain(text: str, most: int = 80) -> str:
    """Return at most this number of characters of untrusted text.

    Control characters, which could forge what a terminal shows, are replaced.
    """
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:most]
