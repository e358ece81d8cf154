"""``import_extra``: import a module whose packages belong to an extra, or explain how to install them.

It must not know what the module does.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tornado_sessions.errors import ConfigError

__all__ = ["import_extra", "missing"]


def import_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of this package that needs the packages of an extra.

    Args:
        module: its full name.
        extra: the extra of ``tornado-sessions``, such as ``redis``.
        what: what needs it, for the message: a URL scheme or a setting.

    Raises:
        ConfigError: a package is missing. The message is one line with the command that installs it.
        ModuleNotFoundError: a module of this package itself is missing, which no extra brings.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error, extra, what) from error


def missing(error: ModuleNotFoundError, extra: str, what: str) -> ConfigError | ModuleNotFoundError:
    """Return the error to raise instead of a failed import, as ``import_extra`` describes it."""
    if error.name is None or error.name.partition(".")[0] == "tornado_sessions":
        return error
    return ConfigError(f"{what} needs {error.name}: pip install 'tornado-sessions[{extra}]'")
