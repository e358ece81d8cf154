"""The server: ``python server.py`` serves, ``python server.py COMMAND`` runs a command."""

from __future__ import annotations

import sys

from tornado_sessions.__main__ import main

if __name__ == "__main__":
    sys.exit(main(program="server.py"))
