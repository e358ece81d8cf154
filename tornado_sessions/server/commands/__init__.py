"""The commands: each parses its arguments, calls one operation and prints.

They use the stores directly, so they work while no server runs. They must not know pages, or how settings are found.
"""

from __future__ import annotations

from tornado_sessions.errors import SessionError
from tornado_sessions.server.commands import accounts, ending, maintenance, viewing
from tornado_sessions.server.commands.parsing import Commands, Given
from tornado_sessions.server.commands.printing import print_error
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.parts import Parts

__all__ = ["add_to", "run"]


def add_to(commands: Commands) -> None:
    """Add every command that works with open parts."""
    for module in (accounts, viewing, ending, maintenance):
        module.add_to(commands)


async def run(parts: Parts, given: Given) -> int:
    """Run the command that was parsed. An error is printed on one line of standard error.

    Args:
        parts: open ones.
        given: what the parser returned.

    Returns:
        The exit code: 0, or 1 when the command is refused or finds nothing to act on.
    """
    try:
        _check_encoding(given)
        code: int = await given.run(parts, given)
    except SessionError as error:
        return print_error(error)
    return code


def _check_encoding(given: Given) -> None:
    """Refuse bytes that are not UTF-8: Python passes them as lone surrogates, which no store can keep."""
    for value in vars(given).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise InvalidInput("An argument is not valid UTF-8.")
