"""The systems that are compared: how each is installed, and how it is started.

It must not know how they are measured. What a peer needs is installed once, with the versions that ``peers/`` pins, in the
user's cache folder; a peer that cannot be installed or started is missing, and the reason is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

from benchmarks.cost import process_clock
from benchmarks.servers import free_port

__all__ = ["SYSTEMS", "Missing", "Running", "System", "start"]

PEERS = Path(__file__).with_name("peers")
ROOT = Path(__file__).parents[1]
#: Routes of every system.
COMMON = ("bare", "read", "write")
#: Routes of ours: no cookie, and a route that does not look at its session.
OURS = ("bare", "no cookie", "none", "read", "write")
#: The least that a session costs in Tornado, without any rule or store.
FLOOR = ("floor",)
#: One client alone.
ALONE = ("bare, alone", "read, alone", "write, alone")


class Missing(Exception):
    """A system that cannot be measured on this machine; the text says why."""


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        title: its name, for readers.
        kind: what installs it: ``ours``, ``python`` or ``node``.
        command: the arguments after the program.
        packages: whose versions are printed.
        environment: further variables.
        routes: what is measured.
    """

    title: str
    kind: str
    command: tuple[str, ...]
    packages: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    routes: tuple[str, ...] = COMMON

    @property
    def is_ours(self) -> bool:
        return "tornado_sessions_app" in " ".join(self.command)


def _ours(title: str, url: str, packages: tuple[str, ...], *more: str) -> System:
    command = ("-m", "benchmarks.peers.tornado_sessions_app", url)
    return System(f"tornado_sessions, {title}", "ours", command, ("tornado", *packages), routes=OURS + more)


def _gunicorn(module: str) -> tuple[str, ...]:
    # Threads, as its documentation advises for keep-alive; more than four were slower.
    options = ("--worker-class", "gthread", "--threads", "4", "--keep-alive", "60", "--log-level", "critical")
    return ("-m", "gunicorn", *options, "--bind", "127.0.0.1:{PORT}", "--chdir", str(PEERS), f"{module}:application")


#: By short name.
SYSTEMS = {
    "memory": _ours("memory", "memory://", (), *FLOOR),
    "sqlite": _ours("SQLite", "sqlite:///{FOLDER}/sessions.db", ()),
    "redis": _ours("Redis", "{REDIS_URL}?prefix=ours:", ("redis",), *ALONE),
    "mongo": _ours("MongoDB", "{MONGO_URL}/ours?driver=pymongo", ("pymongo",)),
    "tornado": System(
        "Tornado and redis-py, by hand", "ours", ("-m", "benchmarks.peers.tornado_by_hand"), ("tornado", "redis")
    ),
    "express": System(
        "express-session, connect-redis",
        "node",
        ("express.mjs", "redis"),
        ("express", "express-session", "connect-redis", "redis"),
    ),
    "express-mongo": System(
        "express-session, connect-mongo",
        "node",
        ("express.mjs", "mongo"),
        ("express", "express-session", "connect-mongo", "mongodb"),
    ),
    "fastify": System(
        "@fastify/session, connect-redis",
        "node",
        ("fastify.mjs",),
        ("fastify", "@fastify/session", "connect-redis", "redis"),
    ),
    "flask": System(
        "Flask-Session, Redis", "python", _gunicorn("flask_app"), ("flask", "flask-session", "redis", "gunicorn")
    ),
    "starlette": System(
        "Starlette, starsessions, Redis",
        "python",
        (str(PEERS / "starlette_app.py"),),
        ("starlette", "starsessions", "redis", "uvicorn"),
    ),
    "aiohttp": System(
        "aiohttp-session, Redis", "python", (str(PEERS / "aiohttp_app.py"),), ("aiohttp", "aiohttp-session", "redis")
    ),
    "django": System(
        "Django, Redis cache", "python", _gunicorn("django_app"), ("django", "redis", "gunicorn"), {"SESSIONS": "redis"}
    ),
    "django-sqlite": System(
        "Django, SQLite", "python", _gunicorn("django_app"), ("django", "gunicorn"), {"SESSIONS": "sqlite"}
    ),
}


class Running:
    """One system that is running, in a process of its own on core 0.

    Args:
        system: what to run.
        folder: for its files; its output is there.
        servers: URLs of the database servers by the name of their variable.
    """

    def __init__(self, system: System, folder: Path, servers: dict[str, str]) -> None:
        program, path = _INSTALL[system.kind]()
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.system = system
        self.versions = _VERSIONS[system.kind](program, path, system.packages)
        folder.mkdir()
        given = {"PORT": str(port), "FOLDER": str(folder), **servers}
        command = ["taskset", "-c", "0", program, *(part.format(**given) for part in system.command)]
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=path,
                env={**os.environ, **given, **system.environment, "NODE_ENV": "production"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, seconds: float = 30) -> None:
        """Return when it answers; raise ``Missing`` if it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.base + "/bare", timeout=1) as response:
                    assert response.read() == b"ada"
                    return
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        lines = self.output.read_text(errors="replace").strip().splitlines()
        self.stop()
        raise Missing(f"it does not start: {lines[-1] if lines else 'no output'}")

    @property
    def title(self) -> str:
        return self.system.title

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, of its process and of all that it started."""
        return sum(map(process_clock, _family(self.process.pid)))

    def stop(self) -> None:
        """End it and all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def start(system: System, folder: Path, servers: dict[str, str]) -> Running:
    """Install and run a system, and return when it answers; raise ``Missing`` if that is impossible here."""
    if "MONGO_URL" not in servers and "mongo" in " ".join(system.command).lower():
        raise Missing("there is no MongoDB server")
    running = Running(system, folder, servers)
    running.wait()
    return running


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _family(int(child))
    return found


def _cached(manifest: Path, install: Callable[[Path], None]) -> Path:
    """Return the folder with what a manifest names; install it if that was not done before."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tornado_sessions"
    folder = cache / f"{manifest.stem}-{hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]}"
    marker = folder / ".complete"
    if not marker.exists():
        print(f"Installing what {manifest.name} names in {folder} (once) ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            install(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", b"") or b""
            raise Missing(
                f"{manifest.name} cannot be installed: {detail.decode(errors='replace')[-200:] or error}"
            ) from error
        marker.touch()
    return folder


def _install_node() -> tuple[str, Path]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("node or npm is not installed")

    def install(folder: Path) -> None:
        shutil.copy(PEERS / "package.json", folder)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run([npm, "install", *options], cwd=folder, check=True, capture_output=True)

    folder = _cached(PEERS / "package.json", install)
    for program in PEERS.glob("*.mjs"):
        # Node looks for packages beside the program.
        shutil.copy(program, folder)
    return node, folder


def _install_python() -> tuple[str, Path]:
    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", PEERS / "requirements.txt"], check=True, capture_output=True)

    return str(_cached(PEERS / "requirements.txt", install) / "bin" / "python"), PEERS


_INSTALL: dict[str, Callable[[], tuple[str, Path]]] = {
    "ours": lambda: (sys.executable, ROOT),
    "python": _install_python,
    "node": _install_node,
}


def _python_versions(program: str, _: Path, packages: tuple[str, ...]) -> dict[str, str]:
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"
    told = subprocess.run([program, "-c", code, *packages], capture_output=True, text=True, check=True).stdout
    return dict(zip(packages, told.split(), strict=True))


def _node_versions(program: str, path: Path, packages: tuple[str, ...]) -> dict[str, str]:
    code = (
        "for (const name of process.argv.slice(1)) console.log(require(`./node_modules/${name}/package.json`).version)"
    )
    command = [program, "-e", code, *packages]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=path).stdout
    return dict(zip(packages, told.split(), strict=True))


_VERSIONS = {"ours": _python_versions, "python": _python_versions, "node": _node_versions}
