"""What all tests share: a skip is a failure in CI, since nobody reads it there."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from support.amount import LONG, amount
from support.mongo_servers import Mongo
from support.oidc_provider import OIDCProvider
from support.redis_servers import Valkey, ValkeyCluster, ValkeySentinel

#: Fixtures of the library's tests; tests/server has its own for the whole server.
pytest_plugins = ["support.session_fixtures", "support.tried"]

settings.register_profile(
    "default", deadline=None, max_examples=amount(30, 200), derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/stores/test_contract.py --store-url URL`` runs the kit on a server of one's own."""
    parser.addoption("--store-url", help="run the store kit on this store; {id} becomes a word that is used once")


def pytest_configure() -> None:
    """Start without an event loop of the main thread, and compile each module once.

    Otherwise Python 3.11 makes a loop for whoever asks first, which is the ``io_loop`` fixture; a later ``asyncio.run`` drops it
    without closing it, and the warning about it fails whichever test runs when the garbage is collected.
    """
    asyncio.set_event_loop(None)
    # A hundred processes of the tests would compile the package, each again: half of the time in which a server starts.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep tests and modules, which stay to the end, out of the garbage collector's way: a walk over them takes a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Find what was not closed with one walk over everything; pytest would take five, of a second each."""
    gc.collect()
    gc.freeze()


#: Servers that are started once in a run, in the order in which a test that needs several is assigned.
_SERVERS = ("oidc_provider", "mongo", "redis_cluster", "redis_sentinel", "redis")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests to `make test-long`, and run all tests of one server, or of a module's fixture, in one worker."""
    if not LONG:
        long = {item for item in items if _is_long(item)}
        config.hook.pytest_deselected(items=list(long))
        items[:] = [item for item in items if item not in long]
    for item in items:
        words = set(_words(item))
        group = next((name for name in _SERVERS if any(word.startswith(name) for word in words)), "")
        if "browser" in item.path.parts:
            group = f"browser {_share(item)}"
        elif not group and _shares(item):
            group = item.path.stem
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


def _shares(item: pytest.Item) -> bool:
    """Return whether a fixture is made once for all tests of its module: a server, or a large file."""
    found = getattr(item, "_fixtureinfo", None)
    made = found.name2fixturedefs.values() if found is not None else ()
    return any(fixtures[-1].scope == "module" for fixtures in made)


def _share(item: pytest.Item) -> int:
    """Return which of two workers looks at a state of a page in a long run, whose matrix takes longer than anything else."""
    callspec = getattr(item, "callspec", None)
    return int(callspec.params.get("number", 0)) % 2 if LONG and callspec else 0


def _words(item: pytest.Item) -> Iterator[str]:
    """Names that say which servers a test uses: of its fixtures, and in its parameters."""
    yield from getattr(item, "fixturenames", ())
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str))


def _is_long(item: pytest.Item) -> bool:
    if any(word.startswith(mark.args) for mark in item.iter_markers("long_on") for word in _words(item)):
        return True
    return item.get_closest_marker("long") is not None and item.get_closest_marker("every_backend") is None


#: By check and store: what the kit found in this run.
_KIT: dict[str, dict[str, str]] = {}
#: By store: how many ways its maker knows to damage what it stores.
_DAMAGES: dict[str, object] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of each check on each store."""
    found = re.search(r"test_store\[(\w+)-check_(\w+)\]", report.nodeid)
    if found and (report.when == "call" or report.outcome != "passed"):
        _KIT.setdefault(found[2], {})[found[1]] = "+" if report.outcome == "passed" else "FAILED"
        _DAMAGES[found[1]] = dict(report.user_properties).get("damages", 0)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The kit's table: every guarantee on every store."""
    if not _KIT:
        return
    stores = list(dict.fromkeys(store for row in _KIT.values() for store in row))
    terminalreporter.section("guarantees of the stores (+ holds)")
    width = max(len(check) for check in _KIT)
    terminalreporter.write_line(" ".join([f"{'':{width}}", *stores]))
    for check, row in _KIT.items():
        marks = [f"{row.get(store, '-'):^{len(store)}}" for store in stores]
        terminalreporter.write_line(" ".join([f"{check.replace('_', ' '):{width}}", *marks]).rstrip())
    ways = [f"{_DAMAGES.get(store, '-'):^{len(store)}}" for store in stores]
    terminalreporter.write_line(
        " ".join([f"{'ways to damage a record (0: none is declared)':{width}}", *ways]).rstrip()
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """In CI a missing server or browser fails instead of being skipped."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr[-1] if report.longrepr else ''}"


@pytest.fixture(scope="session")
def redis() -> Iterator[Valkey]:
    """A Valkey server."""
    server = Valkey()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[ValkeyCluster]:
    """A cluster of three."""
    cluster = ValkeyCluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[ValkeySentinel]:
    """A master, a replica and three Sentinels."""
    watched = ValkeySentinel()
    yield watched
    watched.stop()


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A server of MongoDB's wire protocol."""
    server = Mongo()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mongo_standalone() -> Iterator[Mongo]:
    """The same, as a single server without change streams."""
    server = Mongo("--standalone")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[OIDCProvider]:
    """An OpenID provider on node."""
    server = OIDCProvider()
    yield server
    server.stop()
