"""What each command takes on the command line.

It must not know what they do; ``commands`` does.
"""

from __future__ import annotations

import argparse
from typing import Any

from tornado_sessions.server.operations.filters import FILTERS
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role

__all__ = ["add_parsers"]

#: Bounds of what a list is asked for: rows, and days to look back.
_MAX_COUNT, _MAX_DAYS = 10**9, 36500


def add_parsers(commands: Any) -> None:
    """A parser for each command."""
    _of_people(commands)
    _of_tokens(commands)
    _of_looking(commands)
    _of_ending(commands)
    _of_upkeep(commands)


def _of_people(commands: Any) -> None:
    create = commands.add_parser(
        "create-user", help="make an account; the password is asked for, or read from standard input"
    )
    create.add_argument("name")
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.USER.value)
    create.add_argument("--email", help="default: NAME@localhost.localdomain")
    role = commands.add_parser("set-role", help="say what a user may do")
    role.add_argument("name")
    role.add_argument("role", choices=[role.value for role in Role])
    block = commands.add_parser("block", help="refuse a user's log-ins for a while")
    block.add_argument("name")
    block.add_argument("--hours", type=float, default=24.0, help="more than 0, at most 8784 (a year); default: 24")
    block.add_argument("--reason", default="")
    allow = commands.add_parser("allow", help="allow a blocked user's log-ins again")
    allow.add_argument("name")


def _of_tokens(commands: Any) -> None:
    token = commands.add_parser("create-token", help="make an API token and print it once")
    token.add_argument("name")
    token.add_argument("--role", choices=["viewer", "operator"], default="operator", help="all scopes of a role")
    token.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="instead of a role's; may be repeated",
    )
    token.add_argument("--days", type=float, help="days after which it ends, at most 3650; default: when it is revoked")
    _json(commands.add_parser("tokens", help="list API tokens, without their secrets"))
    commands.add_parser("revoke-token", help="end an API token").add_argument("handle", help="as listed by tokens")


def _of_looking(commands: Any) -> None:
    shown = commands.add_parser("list", help="list sessions")
    _filters(shown)
    shown.add_argument(
        "--ended", action="store_const", const="ended", dest="state", help="ended ones instead of live ones"
    )
    shown.add_argument("--sort", choices=["last_seen", "signed_in", "expires", "user"])
    shown.add_argument("--most", type=_count, default=0, help="at most so many; default: all")
    _json(shown)
    one = commands.add_parser("show", help="show one session")
    one.add_argument("handle")
    _json(one)
    _json(commands.add_parser("stats", help="how many sessions there are, and what happened in the last hour"))


def _of_ending(commands: Any) -> None:
    ended = commands.add_parser("destroy", help="end sessions by name")
    ended.add_argument("handle", nargs="+")
    ended.add_argument("--reason", default="")
    user = commands.add_parser("destroy-user", help="end all sessions of a user")
    user.add_argument("name")
    user.add_argument("--reason", default="")
    where = commands.add_parser("destroy-where", help="end all sessions that filters match")
    _filters(where)
    where.add_argument("--reason", required=True)
    where.add_argument("--dry-run", action="store_true", help="only say how many they are")
    everybody = commands.add_parser("destroy-all", help="end everybody's sessions, at once")
    everybody.add_argument("--reason", required=True)


def _of_upkeep(commands: Any) -> None:
    _json(commands.add_parser("jobs", help="list bulk acts, running and over"))
    commands.add_parser("cancel-job", help="stop a bulk act").add_argument("id")
    log = commands.add_parser("audit", help="list the audit log, or verify its chain")
    log.add_argument("what", nargs="?", choices=["list", "verify"], default="list")
    log.add_argument("--who", default="")
    log.add_argument("--act", default="")
    log.add_argument("--days", type=_days, help="only entries of the last days; default: all")
    log.add_argument("--most", type=_count, default=50, help="default: 50")
    log.add_argument("--head", default="", help="verify: a hash that was noted before, to be found again")
    _json(log)
    commands.add_parser("prune", help="remove what has expired")
    commands.add_parser("check", help="check settings and store")
    move = commands.add_parser("migrate", help="copy live sessions and accounts to another store; may be run again")
    move.add_argument("source", metavar="FROM", help="a store's URL")
    move.add_argument("target", metavar="TO", help="a store's URL")


def _count(text: str) -> int:
    """A number of rows."""
    number = int(text)
    if not 0 <= number < _MAX_COUNT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_MAX_COUNT - 1}")
    return number


def _days(text: str) -> float:
    """A number of days to look back."""
    number = float(text)
    if not 0 < number <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_MAX_DAYS}")
    return number


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _filters(parser: argparse.ArgumentParser) -> None:
    for name in FILTERS:
        parser.add_argument("--" + name.replace("_", "-"), help="as in the address of the dashboard's list")
