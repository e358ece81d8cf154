"""Shell completion: scripts for bash, zsh and fish, written from the parser of the command line.

So a new command or flag is completed without further work. It must not know any command.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from tornado_sessions.server.settings import Settings

__all__ = ["SHELLS", "completion"]

SHELLS = ("bash", "zsh", "fish")

_PROGRAM = "tornado-sessions"

# zsh runs the script of bash through its own bashcompinit. After a flag whose values are not listed, names of files follow.
_BASH = """\
_tornado_sessions() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} flag=${{COMP_WORDS[COMP_CWORD-1]}} command= each is_value=
  [[ $flag == = ]] && flag=${{COMP_WORDS[COMP_CWORD-2]}}
  [[ $word == = ]] && word=
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [[ -n $is_value ]]; then is_value=; continue; fi
    case $each in
      -h|--help) ;;
      --*) is_value=1 ;;
      {names}) command=$each; break ;;
    esac
  done
  case $command:$flag in
{values}
  esac
  case $command in
{options}
  esac
}}
complete -o bashdefault -F _tornado_sessions {program}
"""


class _Option(NamedTuple):
    """A flag or a positional argument: its names, empty for a positional one, whether a value follows, which, and its help."""

    names: tuple[str, ...]
    has_value: bool
    values: tuple[str, ...]
    text: str


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of a shell, one of ``SHELLS``."""
    found = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    commands: dict[str, argparse.ArgumentParser] = dict(found.choices)
    if shell == "fish":
        texts = {choice.dest: choice.help or "" for choice in found._choices_actions}
        return "\n".join(_fish(parser, commands, texts)) + "\n"
    script = _bash(parser, commands)
    return script if shell == "bash" else f"#compdef {_PROGRAM}\nautoload -Uz bashcompinit && bashcompinit\n{script}"


def _options(parser: argparse.ArgumentParser, *, is_command: bool) -> list[_Option]:
    """Return the arguments of a parser; of a command, without the settings, which the whole command line has."""
    return [
        _Option(
            tuple(action.option_strings), action.nargs != 0, _values(action), (action.help or "").replace("%%", "%")
        )
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
        and not (is_command and action.dest in Settings.model_fields)
    ]


def _values(action: argparse.Action) -> tuple[str, ...]:
    """Return the values that an argument can have, if they are a list: of a setting, those of its type."""
    field: Any = Settings.model_fields.get(action.dest)
    if field is not None and get_origin(field.annotation) is Literal:
        return tuple(map(str, get_args(field.annotation)))
    return tuple(map(str, action.choices or ()))


def _bash(parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]) -> str:
    settings = [flag for option in _options(parser, is_command=False) for flag in option.names]
    listed, others, options = [], [], []
    for name, each in [("", parser), *commands.items()]:
        words = list(settings) if name else list(commands)
        for option in _options(each, is_command=bool(name)):
            words += option.names or option.values
            if not (option.names and option.has_value):
                continue
            if option.values:
                # A setting may stand after any command.
                case = "|".join(f"{name or '*'}:{flag}" for flag in option.names)
                listed.append(f"    {case}) {_reply('-W', option.values)}; return ;;")
            else:
                others += [f"*:{flag}" for flag in option.names]
        options.append(f'    "{name}") {_reply("-W", words)} ;;')
    files = f"    {'|'.join(dict.fromkeys(others))}) {_reply('-f')}; return ;;"
    return _BASH.format(
        names="|".join(commands), values="\n".join([*listed, files]), options="\n".join(options), program=_PROGRAM
    )


def _reply(kind: str, words: Sequence[str] = ()) -> str:
    listed = f' "{" ".join(dict.fromkeys(words))}"' if words else ""
    return f'COMPREPLY=($(compgen {kind}{listed} -- "$word"))'


def _fish(
    parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser], texts: dict[str, str]
) -> Iterator[str]:
    start = f"complete -c {_PROGRAM}"
    none_yet = f"-n 'not __fish_seen_subcommand_from {' '.join(commands)}'"
    yield f"{start} {none_yet} -f"
    for name, text in texts.items():
        yield f"{start} {none_yet} -a {name} -d {shlex.quote(text)}"
    for name, each in [("", parser), *commands.items()]:
        # A setting may stand before or after any command.
        condition = f" -n '__fish_seen_subcommand_from {name}'" if name else ""
        for option in _options(each, is_command=bool(name)):
            values = f" -a {shlex.quote(' '.join(option.values))}" if option.values else ""
            if option.names:
                flags = "".join(
                    f" {'-l' if flag.startswith('--') else '-s'} {flag.lstrip('-')}" for flag in option.names
                )
                follows = f" {'-x' if option.values else '-r'}" if option.has_value else ""
                yield f"{start}{condition}{flags}{follows}{values} -d {shlex.quote(option.text)}"
            elif values:
                yield f"{start}{condition} -f{values}"
