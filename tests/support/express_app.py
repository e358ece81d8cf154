"""A real application of express-session on node. npm installs its packages once, into a folder that later runs find again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from support.needed import program

PROGRAM = Path(__file__).parent / "programs/express_app.cjs"
SECRET = "keyboard cat of the old application"
PACKAGES = [
    "express@5",
    "express-session@1",
    "redis@5",
    "mongodb@6",
    *(f"connect-redis-{major}@npm:connect-redis@{major}" for major in (7, 8, 9, 10)),
    *(f"connect-mongo-{major}@npm:connect-mongo@{major}" for major in (4, 5, 6)),
    "oidc-provider@9",
    "kruptein@3.0.8",  # later versions cannot be used with connect-mongo 5
]


def modules() -> Path:
    """Return the folder with ``node_modules``; skip without node or npm."""
    for name in ("node", "npm"):
        program(name, "nodejs npm")
    folder = Path(os.environ.get("XDG_CACHE_HOME", tempfile.gettempdir())) / "tornado-sessions-npm-3"
    if (folder / "done").exists():
        return folder
    # Another worker may install at the same time: each in a folder of its own, and the first one stays.
    draft = Path(tempfile.mkdtemp(prefix="tornado-sessions-npm-", dir=_made(folder.parent)))
    (draft / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--legacy-peer-deps", "--loglevel=error", *PACKAGES]
    subprocess.run(command, cwd=draft, check=True, capture_output=True, timeout=110)
    (draft / "done").touch()
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class NodeProgram:
    """A program on node that serves on a port of its own choice and prints it, until its standard input ends.

    Args:
        program: its file.
        arguments: what it gets after the folder of the packages.
        stderr: where its errors go, as for ``Popen``; ``None``: to those of the tests.
    """

    def __init__(self, program: Path, *arguments: str, stderr: int | None = None) -> None:
        self.process = subprocess.Popen(
            ["node", str(program), str(modules()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert self.process.stdout is not None
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class ExpressApp(NodeProgram):
    """The application: ``/login?user=``, ``/home``, ``/logout``.

    Args:
        package: such as ``connect-redis-9``.
        url: of its store.
        options: of the store, in the words of the package.
        cookie: of express-session.
        secret: of express-session.
    """

    def __init__(
        self,
        package: str,
        url: str,
        options: dict[str, Any] | None = None,
        cookie: dict[str, Any] | None = None,
        secret: str | list[str] = SECRET,
    ) -> None:
        settings = {"package": package, "url": url, "options": options or {}, "cookie": cookie or {}, "secret": secret}
        super().__init__(PROGRAM, json.dumps(settings))
