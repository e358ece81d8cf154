"""Programs that tests need and that pip cannot install."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["program"]


def program(name: str, package: str) -> str:
    """Return the path of a program. Without it the test is skipped, and in CI it fails.

    Args:
        name: of the program.
        package: Debian's, for the message.
    """
    # Debian keeps some of them where only root looks.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt install {package})")
    return found
