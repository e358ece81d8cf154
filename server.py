"""The server: ``python server.py`` serves, ``python server.py COMMAND`` does what the command says."""

from __future__ import annotations

import sys

from settings import load
from tornado_sessions.server.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load))
