"""What an application's author sees of our types: strict checkers accept the examples and refuse the mistakes.

``typed/application.py`` is checked by ``make types`` with everything else; here it is checked as an author would, by mypy's own
strict defaults, without this project's configuration. pyright accepts the same two files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPLICATION = ROOT / "tests/project/typed/application.py"

#: One mistake a line; a checker has to refuse each.
MISTAKES = """
from tornado_sessions import Session, SessionConfig, SessionMixin, Sessions
async def mistakes(handler: SessionMixin, session: Session, sessions: Sessions) -> None:
    await handler.log_in(42)
    await handler.log_in(None)
    await handler.log_in(b"ada")
    await handler.log_in("ada", lifetime="60")
    session["a"] = object()
    session["a"] = {1}
    session["a"] = b"bytes"
    session[42] = 1
    session.increment("n", "1")
    number: int = session.increment("n", 0.5)
    session.update({"a": object()})
    await session.transform("n", lambda value: object())
    await session.transform("n", 42)
    session.set_lifetime("60")
    session.id
    await sessions.find(limit="50")
    await sessions.find(cursor=42)
    await sessions.destroy(42)
    await sessions.destroy_user(42)
    await sessions.destroy("h1", by=42)
    await sessions.destroy("h1", reason=None)
    Sessions(42, secret="x")
    Sessions("memory://", secret=b"x")
    SessionConfig(max_size="big")
    SessionConfig(path=None)
    SessionConfig(same_site="lax")
"""


def checked(folder: Path, *files: Path) -> str:
    """What strict mypy says of files outside this project."""
    cache = ROOT / ".mypy_cache/outside"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--show-error-codes", f"--cache-dir={cache}"]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=folder, capture_output=True, check=False, text=True, timeout=115,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_strict_mypy_accepts_the_examples_and_refuses_each_mistake(tmp_path: Path) -> None:
    (readme,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf8"), re.DOTALL)
    mistakes, home = tmp_path / "mistakes.py", tmp_path / "home.py"
    home.write_text(readme, encoding="utf8")
    mistakes.write_text(MISTAKES.lstrip(), encoding="utf8")
    said = checked(tmp_path, home, mistakes, APPLICATION)
    refused = {int(line) for line in re.findall(r"^mistakes\.py:(\d+): error", said, re.MULTILINE)}
    assert refused == set(range(3, len(MISTAKES.strip().splitlines()) + 1)), said
    assert not re.findall(r"^(?!mistakes).*: error.*", said, re.MULTILINE)
