"""A real server in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class ServerProcess:
    """``python server.py`` in a directory of its own.

    Args:
        folder: where its data goes.
        flags: further flags.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SESSIONS_")},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.setup_path = ""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with (self.folder / "stderr").open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "server.py"), "--port", "0", *self.flags],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"(/setup/\S+)", line):
                self.setup_path = found[1]
            if found := re.search(r"Serving on (http://\S+)", line):
                self.url = found[1]
                return process
        raise AssertionError((self.folder / "stderr").read_text())

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the server's commands on the same data."""
        return subprocess.run(
            [sys.executable, str(ROOT / "server.py"), *self.flags, *arguments],
            cwd=self.folder,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same data."""
        self.process = self._start()

    def stop(self) -> int:
        """End it as an operator would. Returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
