"""The package as people install it: sdist and wheel, built once, in environments that have nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.server_process import environment

ROOT = Path(__file__).parents[2]


def uv(*arguments: str) -> str:
    """Run uv and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it. Return their paths."""
    uv("build", "-q", "--out-dir", str(folder), str(ROOT))
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


class Environment:
    """A virtual environment, outside the checkout.

    Args:
        folder: where it goes.
        python: the interpreter; by default, that of the tests.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        uv("venv", "-q", "--no-python-downloads", "--python", python, str(folder))

    def install(self, package: Path, extras: Sequence[str] = (), resolution: str = "highest") -> None:
        """Install a wheel or sdist with extras, and nothing else."""
        wanted = f"tornado-sessions[{','.join(extras)}] @ {package.as_uri()}"
        uv("pip", "install", "-q", "--python", str(self.bin / "python"), "--resolution", resolution, wanted)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in its folder."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env={name: value for name, value in environment().items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
