"""Commands: each calls the parts and prints. They speak to the stores directly, for when the web is down.

No rules of its own; it must not know how settings are found.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.commands import accounts, ending, maintenance, viewing
from tornado_sessions.server.commands.maintenance import migrate
from tornado_sessions.server.commands.printing import Given
from tornado_sessions.server.operations.errors import InvalidInput, OperationRefused
from tornado_sessions.server.parts import Parts

__all__ = ["COMMANDS", "migrate"]

Command = Callable[[Parts, Given], Awaitable[int]]


def _told(run: Command) -> Command:
    """Print a refusal on one line of standard error, with exit code 1."""

    async def told(parts: Parts, given: Given) -> int:
        """The command, with its error printed."""
        try:
            _refuse_other_than_text(given)
            return await run(parts, given)
        except (AccountError, OperationRefused) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return told


def _refuse_other_than_text(given: Given) -> None:
    """Refuse arguments in another encoding, which Python keeps as lone surrogates that no store can take."""
    for value in vars(given).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise InvalidInput("an argument is not UTF-8")


#: Every command by name.
COMMANDS: dict[str, Command] = {
    name: _told(run) for module in (accounts, viewing, ending, maintenance) for name, run in module.COMMANDS.items()
}
