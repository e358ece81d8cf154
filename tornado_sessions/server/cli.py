"""The command line: parse flags and command, load the settings, then serve or run the command.

It must not know pages or stores.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from pkgutil import resolve_name
from typing import Any, NoReturn

from typing_extensions import override

from tornado_sessions.errors import SessionError
from tornado_sessions.server import commands
from tornado_sessions.server.commands.maintenance import migrate, replace_keys
from tornado_sessions.server.commands.parsing import Commands, Given
from tornado_sessions.server.commands.printing import print_error
from tornado_sessions.server.completion import SHELLS, completion
from tornado_sessions.server.logs import configured
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.secret_file import secrets_in
from tornado_sessions.server.settings import Settings, load, variable_of

__all__ = ["main", "make_parser"]

# Imported only to serve: commands start faster without the pages, and work even if the pages cannot be imported.
_SERVE = "tornado_sessions.server.web.serve:serve"
_DEMO = "tornado_sessions.server.demo:run"


def main(arguments: Sequence[str] | None = None, program: str = "tornado-sessions") -> int:
    """Serve, or run a command.

    Args:
        arguments: the command-line arguments without the program's name; ``None``: those of this process.
        program: what people type to start it, for usage lines.

    Returns:
        The exit code: 0 on success, 1 if the command fails, 130 if it is interrupted.

    Raises:
        SystemExit: with the code 2, if the arguments cannot be parsed.
    """
    given = make_parser(program).parse_args(arguments)
    # The driver logs each failed attempt to connect. Silence it, because the final error is raised and printed anyway.
    logging.getLogger("redis").setLevel(logging.CRITICAL)
    try:
        settings = load({name: value for name, value in vars(given).items() if name in Settings.model_fields})
        # Commands log only what goes wrong, unless an option says otherwise: their output is for people and scripts.
        is_quiet = given.command not in ("serve", "demo") and "log_level" not in settings.model_fields_set
        level = "warning" if is_quiet else settings.log_level
        with configured(log_format=settings.log_format, level=level, secrets=secrets_in(settings)):
            return _start(settings, given)
    except (SessionError, OSError) as error:
        return print_error(error)
    except KeyboardInterrupt:
        return 130


def _start(settings: Settings, given: Given) -> int:
    if given.command in ("serve", "demo"):
        return int(resolve_name(_SERVE if given.command == "serve" else _DEMO)(settings))
    if given.command == "completion":
        print(completion(make_parser(), given.shell), end="")  # noqa: T201 - the output of the command
        return 0
    if given.command == "migrate":
        return asyncio.run(migrate(getattr(given, "from"), given.to))
    if given.command == "replace-keys":
        return asyncio.run(replace_keys(settings))
    return asyncio.run(_run(settings, given))


async def _run(settings: Settings, given: Given) -> int:
    parts = Parts(settings)
    async with parts.opened():
        return await commands.run(parts, given)


class _Parser(argparse.ArgumentParser):
    """The parser of the command line and, because argparse uses the same class, of each command."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)

    @override
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Refused here: otherwise the parser of the whole command line does, with its own usage.
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    @override
    def error(self, message: str) -> NoReturn:
        # What follows a mistyped flag may be a secret, and terminals and logs of services keep what is printed.
        kind, found, words = message.partition("unrecognized arguments: ")
        names = [word.partition("=")[0] for word in words.split() if word.startswith("--")]
        kind = re.sub(r"^(argument COMMAND: invalid choice): .* (\(choose)", r"\1 \2", kind)
        super().error(kind + found + " ".join(names))


class _Help(argparse.HelpFormatter):
    """Leaves settings out of the usage line, where every command would repeat them. They are listed below it."""

    @override
    def add_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Any, prefix: str | None = None
    ) -> None:
        own = [action for action in actions if action.dest not in Settings.model_fields]
        super().add_usage(usage, own, groups, prefix)


def make_parser(program: str = "tornado-sessions") -> argparse.ArgumentParser:
    """Return the parser of the command line. Each setting is a flag, allowed before or after the command."""
    flags = _flags()
    parser = _Parser(
        prog=program, description="Server-side sessions for Tornado: the server and its commands.", parents=[flags]
    )
    found = Commands(parser.add_subparsers(dest="command", metavar="COMMAND"), flags)
    parser.set_defaults(command="serve")
    found.add("replace-keys", None, "discard all earlier signing keys, which signs out all users")
    found.add("serve", None, "run the server (the default)")
    found.add("demo", None, "run the server with made-up people and sessions in memory, to look at its pages")
    found.add(
        "migrate",
        None,
        "copy sessions, accounts, tokens, jobs and the audit log between two store URLs; may be repeated",
        "from",
        "to",
    )
    script = found.add("completion", None, "print a script that completes commands and flags in a shell")
    script.add_argument("shell", choices=SHELLS)
    commands.add_to(found)
    return parser


def _flags() -> argparse.ArgumentParser:
    # Suppress defaults: the command's parser would otherwise overwrite a flag given before the command with the default.
    flags = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = flags.add_argument_group(
        "settings", "A flag overrides the environment variable, which overrides the file .env."
    )
    for name, field in Settings.model_fields.items():
        shown = "none" if field.default in (None, ()) else field.default
        text = f"{field.description} (default: {shown}; variable: {variable_of(name)})"
        group.add_argument("--" + name.replace("_", "-"), metavar="VALUE", help=text.replace("%", "%%"))
    return flags
