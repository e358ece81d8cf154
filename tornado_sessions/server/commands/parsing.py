"""Parsing for commands: subparsers, filters of lists, and bounded numbers. It must not know any command."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.filters import FILTERS, View, read_view
from tornado_sessions.server.parts import Parts

__all__ = ["CLI", "Command", "Commands", "Given", "add_filters", "add_json", "days", "read_filters", "row_count"]

Given = argparse.Namespace
#: Runs a command with open parts and its arguments, and returns the exit code.
Command = Callable[[Parts, Given], Awaitable[int]]

#: The actor in audit entries of commands.
CLI = Actor("cli")

_MAX_ROWS, _MAX_DAYS = 10**9, 36500


class Commands:
    """Adds commands to the command line. Each command also accepts ``flags``."""

    def __init__(self, subparsers: Any, flags: argparse.ArgumentParser) -> None:
        self._subparsers = subparsers
        self._flags = flags

    def add(self, name: str, run: Command | None, text: str, *arguments: str) -> argparse.ArgumentParser:
        """Add a command with its help text and required arguments. Return its parser, to which options can be added.

        ``run`` is ``None`` for commands that do not use open parts.
        """
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[self._flags]
        )
        parser.set_defaults(run=run)
        for argument in arguments:
            parser.add_argument(argument, metavar=argument.upper())
        return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the filters of the dashboard's list of sessions as options."""
    for name in FILTERS:
        parser.add_argument("--" + name.replace("_", "-"), help="as in the URL of the dashboard's list")


async def read_filters(parts: Parts, given: Given) -> View:
    """Return the view that the filters describe. Raises ``QueryError``."""
    return await read_view(
        lambda name: getattr(given, name, None) or "", parts.people, parts.suspects, parts.sessions.clock()
    )


def row_count(text: str) -> int:
    """Parse a number of rows."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number < _MAX_ROWS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {_MAX_ROWS - 1}")
    return number


def days(text: str) -> float:
    """Parse a number of days."""
    number = float(text)
    # Comparisons with NaN are false, so NaN is refused as well.
    if not 0 < number <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_MAX_DAYS}")
    return number
