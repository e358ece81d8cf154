"""Programs that tests run in processes of their own."""

from __future__ import annotations

from pathlib import Path

#: Where the programs are.
PROGRAMS = Path(__file__).parent
