"""A real server of MongoDB's wire protocol, on WiredTiger, for the tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from support.ports import free_port
from support.waiting import wait_for_server


class Mongo:
    """One server process in a folder of its own; it can be killed and started again with its data."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mongo-"))
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it answers."""
        command = [
            sys.executable,
            "-m",
            "secantus",
            "--port",
            str(self.port),
            "--storage-path",
            str(self.folder / "data"),
        ]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log, cwd=self.folder)
        log.close()
        wait_for_server(self.answers, f"the MongoDB server on {self.port}", self.folder / "log", self.stop)

    def answers(self) -> bool:
        """Whether it does."""
        client: MongoClient[dict[str, object]] = MongoClient(self.url, serverSelectionTimeoutMS=5000)
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
        finally:
            client.close()
        return True

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
