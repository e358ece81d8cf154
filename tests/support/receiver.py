"""A receiver of webhook messages: a real HTTP server that refuses, answers late or is down, as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from support.ports import free_port


class Received(NamedTuple):
    """A message as it came: its headers in lower case, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]


class Receiver:
    """Listens on one port of this machine; it can stop and start again.

    Attributes:
        answers: called before each answer; returns its status.
        received: all messages, in order, also those that were refused.
    """

    def __init__(self, answers: Callable[[], int] = lambda: 204) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook?key=hidden-key"
        self.answers = answers
        self.received: list[Received] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.received]

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                status = receiver.answers()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
