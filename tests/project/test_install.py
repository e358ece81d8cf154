"""The package as people install it: from the wheel and the sdist, with each extra, in clean environments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from readme_renderer import markdown
from support.installed import Environment, build
from support.passwords import SECRET
from support.server_process import environment

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The extras for people who use the package; ``otel`` has programs of its own.
EXTRAS = ("", *(PROJECT["optional-dependencies"].keys() - {"otel", "test", "lint", "docs", "audit", "dev"}))
#: Entries that need an extra: the extra, how their message starts, and the code that uses them.
ENTRIES = [
    ("redis", "redis://", "open_store('redis://localhost')"),
    ("mongo", "mongodb://", "open_store('mongodb://localhost')"),
    ("redis", "redis://", "Express('redis://localhost', secret='x' * 32)"),
    ("mongo", "mongodb://", "Express('mongodb://h/d', secret='x' * 32)"),
    ("oidc", "tornado_sessions.oidc", "import_module('tornado_sessions.oidc')"),
    ("smtp", "--smtp-url", "import_extra('tornado_sessions.server.mail.smtp', 'smtp', '--smtp-url')"),
    ("dashboard", "tornado_sessions.server.Dashboard", "routes()"),
    ("server", "tornado_sessions.server.AccountPages", "import_module('tornado_sessions.server').AccountPages"),
]
#: Uses the library in an environment, then each entry, and prints what came of it.
USE = """
import asyncio, tornado_sessions
from importlib import import_module
from tornado_sessions import Sessions, open_store
from tornado_sessions.extras import import_extra
from tornado_sessions.takeover import Express
class People:
    async def current(self, handler): ...
    async def get(self, user_id): ...
def routes():
    from tornado_sessions.server import Dashboard
    Dashboard(Sessions("memory://", secret="x" * 32), people=People()).routes()
async def main():
    sessions = Sessions("sqlite:///s.db", secret="x" * 32)
    await sessions.open()
    print((await sessions.count()).total, tornado_sessions.__file__)
    await sessions.close()
asyncio.run(main())
for code in {codes}:
    try:
        eval(code)
        print("works")
    except Exception as error:
        print(type(error).__name__, error)
"""

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return build(tmp_path_factory.mktemp("dist"))


def pythons() -> list[str]:
    """The interpreters of this machine that the package supports, one of each version; those of pyenv first."""
    folders = [*map(str, (Path.home() / ".pyenv" / "versions").glob("*/bin")), os.environ["PATH"]]
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    found = (shutil.which(f"python{version}", path=os.pathsep.join(folders)) for version in versions)
    return list(filter(None, found))


@contextmanager
def served(installed: Environment, *command: str) -> Iterator[str]:
    """Start the server of an environment, and yield its address."""
    process = subprocess.Popen(
        [str(installed.bin / command[0]), *command[1:], "--port", "0", "--drain-delay", "0"],
        cwd=installed.folder,
        env={name: value for name, value in environment().items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = next(filter(None, (re.search(r"Serving on (http://\S+)", line) for line in process.stdout)))
        yield found[1]
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        process.stdout.close()


def answer(url: str, language: str = "en") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept-Language": language}), timeout=20) as page:
        return str(page.read().decode())


def check_library(installed: Environment, extras: tuple[str, ...]) -> None:
    """The library works; each entry works, or names in one line the command that installs what it needs."""
    ran = installed.run("python", "-W", "error", "-c", USE.format(codes=[code for *_, code in ENTRIES]))
    own, *told = ran.stdout.splitlines()
    assert own.startswith(f"0 {installed.folder}"), ran.stderr
    for (extra, start, _), line in zip(ENTRIES, told, strict=True):
        missing = rf"ConfigError {start} needs \w+: pip install 'tornado-sessions\[{extra}\]'"
        assert re.fullmatch("works" if extra in extras else missing, line)


def check_command(installed: Environment, *command: str) -> None:
    """Without the server's packages, the command names what to install."""
    ran = installed.run(*command, "stats", "--store", "memory://")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(r"error: .* needs \w+: pip install 'tornado-sessions\[server\]'\n", ran.stderr)


def check_server(installed: Environment, *command: str) -> None:
    """The server has its templates, static files and translations with it."""
    with served(installed, *command) as url:
        page = BeautifulSoup(answer(url + "/login"), "html.parser")
        sheet = page.select_one("link[rel=stylesheet]")
        assert sheet is not None
        assert ":root" in answer(url + str(sheet["href"]))
        assert "登录" in answer(url + "/login", "zh")


def test_the_wheel_works_where_nothing_else_is_installed(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The library alone, then with the server: both name what is missing, and need no file of the checkout."""
    installed = Environment(tmp_path / "environment")
    installed.install(built[1])
    check_library(installed, ())
    check_command(installed, "tornado-sessions")
    check_command(installed, "python", "-m", "tornado_sessions")
    installed.install(built[1], ["server"])
    check_server(installed, "tornado-sessions")
    refused = installed.run(
        "tornado-sessions", "list", "--store", "redis://localhost", "--secret", SECRET.replace(",", "")
    )
    assert refused.stderr == "error: redis:// needs redis: pip install 'tornado-sessions[redis]'\n"
    mail = "--smtp-url", "smtp://localhost", "--public-url", "https://example.com"
    refused = installed.run("tornado-sessions", "list", "--store", "memory://", *mail)
    assert refused.stderr == "error: --smtp-url needs aiosmtplib: pip install 'tornado-sessions[smtp]'\n"


def test_the_lock_of_the_image_has_every_package_that_the_server_needs() -> None:
    locked = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    wanted = [*PROJECT["dependencies"]]
    extras = ["server", "redis", "mongo"]
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            if line.startswith("tornado-sessions["):
                extras += line.partition("[")[2].rstrip("]").split(",")
            else:
                wanted.append(line)
    assert {re.split(r"[^\w-]", line)[0].lower() for line in wanted} <= locked


@pytest.mark.long
@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
@pytest.mark.parametrize("extra", sorted(EXTRAS))
@pytest.mark.parametrize("form", ["sdist", "wheel"])
def test_each_extra_works_alone_with_the_newest_and_the_lowest_versions(
    built: tuple[Path, Path], tmp_path: Path, form: str, extra: str, resolution: str, python: str
) -> None:
    installed = Environment(tmp_path / "environment", python)
    installed.install(built[form == "wheel"], [extra] if extra else [], resolution)
    check_library(installed, ("server", "oidc", "dashboard") if extra == "server" else (extra,))
    if extra == "server":
        check_server(installed, "python", "-m", "tornado_sessions")
    else:
        check_command(installed, "tornado-sessions")


@pytest.mark.long
def test_the_stores_keep_their_promises_with_the_lowest_versions(built: tuple[Path, Path], tmp_path: Path) -> None:
    installed = Environment(tmp_path / "environment")
    installed.install(built[1], ["redis", "mongo", "server", "test"], "lowest-direct")
    ran = subprocess.run(
        [installed.bin / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/stores", "tests/server/documents"],
        cwd=ROOT, env={**environment(), "LONG": ""}, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_the_wheel_holds_templates_static_files_and_types(built: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    inside = [path for part in ("templates", "static") for path in (ROOT / part).rglob("*") if path.is_file()]
    package = [
        path
        for path in (ROOT / "tornado_sessions").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".mo"
    ]
    assert {f"tornado_sessions/{path.relative_to(ROOT)}" for path in inside} <= names
    assert {str(path.relative_to(ROOT)) for path in package} <= names
    assert "tornado_sessions/py.typed" in names
    assert not [name for name in names if not name.startswith(("tornado_sessions/", "tornado_sessions-"))]


def test_the_sdist_holds_what_the_tests_and_the_documentation_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "server.py",
        "settings.py",
        "tests/conftest.py",
        "docs/conf.py",
    ):
        assert name in names


def test_the_page_of_the_package_index_has_absolute_links_to_files_that_exist() -> None:
    html = markdown.render((ROOT / "README.md").read_text(encoding="utf8"))
    assert html is not None
    page = BeautifulSoup(html, "html.parser")
    links = [str(tag["href"]) for tag in page.select("a[href^=http]")] + [str(tag["src"]) for tag in page.select("img")]
    assert len(links) > 20
    # The renderer gives each heading an anchor on the page itself.
    others = [tag for tag in page.select("a[href]") if not str(tag["href"]).startswith(("https://", "#user-content-"))]
    assert others == []
    for link in links:
        assert link.startswith("https://")
        inside = re.match(r"https://(?:github|raw\.githubusercontent)\.com/(?:[^/]+/){2}(?:blob/)?main/(.+)", link)
        assert inside is None or (ROOT / inside[1]).is_file(), link
