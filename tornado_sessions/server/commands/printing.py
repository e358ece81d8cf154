"""Printing for commands: tables, JSON lines, times, untrusted text and errors. It must not know any command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from tabulate import tabulate
from tqdm import tqdm

from tornado_sessions.server.display import in_calendar

__all__ = ["counted", "plain", "print_error", "print_items", "print_pairs", "progress", "utc"]


def utc(at: float | None) -> str:
    """Return a time in UTC seconds as text; a dash for ``None``."""
    return f"{in_calendar(at):%Y-%m-%d %H:%M:%S}Z" if at is not None else "-"


def print_items(
    items: Iterable[object], rows: Iterable[Sequence[object]], heads: Sequence[str], *, as_json: bool
) -> None:
    """Print ``items`` as JSON, one object per line, or ``rows`` as a table, with headings only on a terminal."""
    if as_json:
        for item in items:
            print(msgspec.json.encode(item).decode())
        return
    shown = tuple(heads) if sys.stdout.isatty() else ()
    table = tabulate(list(rows), headers=shown, tablefmt="simple" if shown else "plain", disable_numparse=True)
    if table:
        print(table)


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
