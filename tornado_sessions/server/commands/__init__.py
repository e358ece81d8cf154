"""The commands: each parses its arguments, calls one operation and prints the result.

They use the stores directly, so they work without a running server. They must not know pages or where settings come from.
"""

from __future__ import annotations

from tornado_sessions.damage import is_unicode
from tornado_sessions.errors import SessionError
from tornado_sessions.server.commands import accounts, ending, maintenance, viewing
from tornado_sessions.server.commands.parsing import Commands, Given
from tornado_sessions.server.commands.printing import print_error
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.parts import Parts

__all__ = ["add_to", "run"]


def add_to(commands: Commands) -> None:
    """Add all commands that work with open parts."""
    for module in (accounts, viewing, ending, maintenance):
        module.add_to(commands)


async def run(parts: Parts, given: Given) -> int:
    """Run a parsed command. Errors are printed to standard error, on one line.

    Args:
        parts: the opened parts.
        given: the parsed arguments.

    Returns:
        The exit code: 0 on success, 1 if the command is refused or its object does not exist.
    """
    try:
        _check_encoding(given)
        code: int = await given.run(parts, given)
    except SessionError as error:
        return print_error(error)
    return code


def _check_encoding(given: Given) -> None:
    """Refuse arguments that are not UTF-8. Python passes such bytes as lone surrogates, which stores cannot encode."""
    for value in vars(given).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not is_unicode(text):
                raise InvalidInput("An argument is not valid UTF-8.")
