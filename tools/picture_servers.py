"""The servers whose pages ``make screenshots`` shows, beside the demo. It must not know how pictures are taken."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import urlsplit

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["MOUNTED_PASSWORD", "Letterbox", "free_port", "letterbox", "served", "served_mounted"]

ROOT = Path(__file__).parents[1]
#: Of ``ada``, the operator of the application with its own users.
MOUNTED_PASSWORD = "correct horse"
#: The application of the guide, with a few people.
_MOUNTED = """
import asyncio, sys
from examples.mounted.app import Users, make
from tornado_sessions.request import RequestInfo

PEOPLE = [
    ("2", "203.0.113.7", "Windows NT 10.0) Firefox/140.0"),
    ("3", "198.51.100.4", "iPhone) Safari/604.1"),
    ("3", "198.51.100.9", "Macintosh) Safari/605.1"),
]

async def main():
    users = Users("users.db")
    for name, role in (("ada", "admin"), ("grace", None), ("linus", None)):
        users.add(name, "correct horse", role)
    application, dashboard = make(users, "sqlite:///sessions.db")
    await dashboard.open()
    sessions = application.settings["sessions"]
    for user, ip, agent in PEOPLE:
        request = sessions.new_request_session(RequestInfo(sessions.clock(), ip, "Mozilla/5.0 (" + agent))
        await sessions.log_in(request, user)
        await sessions.commit(request)
    application.listen(int(sys.argv[1]), "127.0.0.1")
    print("Serving on", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[str]:
    """Start a program; yield what it printed until it served. Stop it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        printed = []
        for line in server.stdout or ():
            printed.append(line)
            if line.startswith("Serving on"):
                break
        yield "".join(printed)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def served(*arguments: str, port: int = 0) -> Iterator[tuple[str, str]]:
    """Start our server; yield its URL and what it printed until it answered. Stop it at the end."""
    port = port or free_port()
    command = [sys.executable, str(ROOT / "server.py"), *arguments, "--port", str(port)]
    with _running(command, ROOT) as printed:
        yield f"http://127.0.0.1:{port}", printed


@contextmanager
def served_mounted() -> Iterator[str]:
    """Start the application with its own users and the dashboard below ``/ops``; yield its URL. Stop it at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, _running([sys.executable, "-c", _MOUNTED, str(port)], Path(folder)):
        yield f"http://127.0.0.1:{port}"


class Letterbox:
    """Receives the mails of a server."""

    def __init__(self) -> None:
        self._mails: list[str] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail; the name is that which aiosmtpd calls."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "500 no bytes"
        mail = message_from_bytes(content, policy=policy.default)
        body = mail.get_body(("plain",))
        self._mails.append(body.get_content() if body is not None else "")
        return "250 OK"

    def link(self, part: str) -> str:
        """Return the path of the next link with this part, and forget the mails before it. It comes within seconds."""
        for _ in range(200):
            while self._mails:
                if found := re.search(rf"https?://\S+/{part}/\S+", self._mails.pop(0)):
                    return urlsplit(found[0]).path
            time.sleep(0.1)
        raise TimeoutError(f"no mail with a link to /{part}/")


@contextmanager
def letterbox() -> Iterator[tuple[Letterbox, str]]:
    """Start a mail server; yield its letterbox and its address. Stop it at the end."""
    box, port = Letterbox(), free_port()
    controller = Controller(box, "127.0.0.1", port)
    controller.start()
    try:
        yield box, f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()
