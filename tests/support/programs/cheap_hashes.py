"""Run a program of Python with the cheapest argon2 parameters: ``cheap_hashes.py server.py …``.

Each start of a server and each sign-in would otherwise take a quarter of a second of both cores, in a hundred tests that do not
look at what a hash costs.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from argon2 import profiles

profiles.RFC_9106_LOW_MEMORY = profiles.CHEAPEST
del sys.argv[0]
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
