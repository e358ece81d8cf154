"""``tornado-sessions`` and ``python -m tornado_sessions``: start the command line, or say which extra it needs.

The command line is imported when it is called: without its packages, that is an error of one line and no traceback. It must
not know commands or settings.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from tornado_sessions.errors import ConfigError
from tornado_sessions.extras import import_extra

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, program: str = "tornado-sessions") -> int:
    """Serve, or run a command.

    Args:
        arguments: the command-line arguments without the program's name; ``None``: those of this process.
        program: what people type to start it, for usage lines.

    Returns:
        The exit code of ``tornado_sessions.server.cli.main``; 1 if a package of the extra ``server`` is missing.
    """
    # Nothing that an import makes is garbage. Collections would walk over all of it, again and again, for a tenth of the start.
    gc.disable()
    try:
        command_line = import_extra("tornado_sessions.server.cli", "server", program)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - for the person at the terminal
        return 1
    finally:
        gc.freeze()
        gc.enable()
    return int(command_line.main(arguments, program))


if __name__ == "__main__":
    sys.exit(main(program="python -m tornado_sessions"))
