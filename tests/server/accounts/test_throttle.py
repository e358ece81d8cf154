"""What guessing costs the attacker, and that it costs nobody else: attacks on a clock, without HTTP or hashing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pyotp
import pytest
from support.amount import amount
from support.document_makers import DocumentMaker, MemoryMaker, make
from support.fast_loop import now, run_fast
from support.passwords import SECRET
from support.urls import KINDS

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.devices import Devices
from tornado_sessions.server.accounts.errors import Throttled, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.fair_queue import FairQueue
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.two_step import new_secret, step_of
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.budgets import Budgets
from tornado_sessions.server.documents import Count, DocumentStore, Total
from tornado_sessions.server.documents.memory import MemoryDocuments

ADA = User(name="ada", email="ada@example.org", password_hash="", created_at=0, password_changed_at=1.5)
DAY = 86400.0


class Server:
    """One process, as far as limits are concerned."""

    def __init__(self, documents: DocumentStore, clock: Callable[[], float] = now) -> None:
        self.devices = Devices([SECRET], clock)
        self.throttle = Throttle(Budgets(documents, b"key", clock), self.devices, FairQueue("test", 2))

    async def guess(self, client: Client | str = "192.0.2.1", name: str = "ada") -> bool:
        """Try a wrong password. Returns whether it was checked."""
        try:
            async with self.throttle.log_in(name, ADA if name == "ada" else None, Client.of(client)):
                raise WrongCredentials
        except WrongCredentials:
            return True
        except Throttled:
            return False

    async def guesses(self, number: int, client: Client | str = "192.0.2.1", name: str = "ada") -> int:
        """Try wrong passwords one after another. Returns how many were checked."""
        return sum([await self.guess(client, name) for _ in range(number)])

    async def enter(self, client: Client | str, user: User = ADA) -> str:
        """Sign in with the right password. Returns the cookie."""
        client = Client.of(client)
        async with self.throttle.log_in(user.key, user, client):
            pass
        return await self.throttle.remember(user, client)

    async def code(self, code: str, client: Client | str = "192.0.2.1", *, is_right: bool = False) -> bool:
        """Try a code. Returns whether it was checked."""
        try:
            async with self.throttle.second_step("ada", ADA, Client.of(client), code):
                if not is_right:
                    raise WrongCode
        except WrongCode:
            return True
        except Throttled:
            return False
        return True


def simulated(test: Callable[[Server], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on the loop whose time jumps."""

    @wraps(test)
    def run() -> None:
        async def main() -> None:
            await test(Server(MemoryDocuments()))

        run_fast(main())

    del run.__wrapped__  # pytest would take the argument for a fixture
    return run


async def attack(server: Server, networks: Sequence[str], until: float) -> int:
    """Guess from all networks at once, each again when it was checked, or after a minute. Returns how many were checked."""

    async def bot(ip: str) -> int:
        done = 0
        while now() < until:
            if await server.guess(ip):
                done += 1
            else:
                await asyncio.sleep(60)
        return done

    return sum(await asyncio.gather(*map(bot, networks)))


def addresses(number: int) -> list[str]:
    """Addresses in as many networks of any size that counts."""
    return [f"10.{one >> 8}.{one & 255}.1" for one in range(number)]


# --- what an attacker gets ---------------------------------------------------------------------------------------------


@simulated
async def test_ten_failures_refuse_an_address_for_a_quarter_of_an_hour(server: Server) -> None:
    assert await server.guess()
    await asyncio.sleep(60)
    assert await server.guesses(20) == 9
    with pytest.raises(Throttled) as refused:
        await server.enter("192.0.2.1")
    assert refused.value.retry_after in range(838, 842)
    await asyncio.sleep(841)
    await server.enter("192.0.2.1")


@pytest.mark.parametrize(
    ("template", "checked"),
    [
        ("192.0.2.1", 10),
        ("::ffff:192.0.2.1", 10),
        ("2001:db8::%x", 10),  # one /64
        ("2001:db8:0:%x::1", 40),  # one /56
        ("2001:db8:0:%x00::1", 100),  # one /48: of each account as many as of any number of networks
        ("", 100),  # behind a socket that is not trusted
    ],
)
def test_a_network_has_one_budget_however_many_addresses_it_uses(template: str, checked: int) -> None:
    async def main() -> None:
        server = Server(MemoryDocuments())
        tries = [template % number if "%" in template else template for number in range(1, 256)]
        done = await asyncio.wait_for(asyncio.gather(*(server.guesses(2, ip) for ip in tries)), 60)
        # Beyond 100, the attempts of strangers are slowed down, and a few of them are let through in this minute.
        assert checked <= sum(done) <= checked + (0 if checked < 100 else 30)

    run_fast(main())


@simulated
async def test_a_network_cannot_try_one_password_on_any_number_of_accounts(server: Server) -> None:
    assert sum([await server.guess(name=f"user{number}") for number in range(300)]) == 50
    assert sum([await server.guess(f"2001:db8:0:{one:x}::1", f"user{one}") for one in range(256)]) == 200
    assert not await server.guess("2001:db8:0:1::2", "another")
    assert await server.guess("2001:db8:1::1", "another")


@simulated
async def test_unknown_names_are_limited_like_known_ones(server: Server) -> None:
    assert await server.guesses(12, name="nobody") == 10


@simulated
async def test_a_botnet_has_some_three_thousand_guesses_a_day_at_one_account(server: Server) -> None:
    """docs/explanation/guessing.md states these numbers: 300 until the pause is longest, and then one in half a minute."""
    hours, networks = amount(1, 48), addresses(20)
    start = now()
    assert 250 <= await attack(server, networks, start + 1500) <= 310
    for hour in range(1, hours + 1):
        checked = await attack(server, networks, start + 1500 + 3600 * hour)
        # After a day the count starts again, with another 300.
        assert 100 <= checked <= 150 or (hour % 24 in (0, 1) and checked <= 430)


@simulated
async def test_an_owner_with_a_known_device_does_not_notice_an_attack(server: Server) -> None:
    device = Client("198.51.100.1", devices=await server.enter("198.51.100.1"))
    until = now() + 2000
    bots = asyncio.create_task(attack(server, addresses(30), until))
    await asyncio.sleep(1500)
    for _ in range(20):
        before = now()
        device = Client("203.0.113.9", devices=await server.enter(device))
        assert now() - before < 0.1
    before = now()
    await server.enter("198.51.100.1")  # another device in the known network
    assert now() - before < 0.1
    await bots


@simulated
async def test_an_owner_at_a_new_place_with_a_new_device_waits_for_one_pause_at_most(server: Server) -> None:
    bots = asyncio.create_task(attack(server, addresses(30), now() + 2500))
    await asyncio.sleep(2000)
    for number in range(5):
        before = now()
        await server.enter(f"198.51.{number}.1")
        assert now() - before < 31
    await bots


@simulated
async def test_a_hundred_failures_from_twelve_addresses_close_nothing(server: Server) -> None:
    for number in range(104):
        await server.guess(f"192.0.2.{number % 12 + 1}")
    before = now()
    await server.enter("192.0.2.200")  # even beside the attackers
    assert now() - before <= 3


@simulated
async def test_an_attack_on_one_account_does_not_slow_another(server: Server) -> None:
    bots = asyncio.create_task(attack(server, addresses(50), now() + 1000))
    await asyncio.sleep(500)
    before = now()
    await server.enter("198.51.100.1", User(**{**_fields(ADA), "name": "bob"}))
    assert now() - before < 0.1
    await bots


def _fields(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in user.__struct_fields__}


# --- devices and networks ------------------------------------------------------------------------------------------------


@simulated
async def test_a_stolen_device_has_a_budget_that_its_owner_does_not_share(server: Server) -> None:
    cookie = await server.enter("192.0.2.1")
    owner = await server.enter(Client("192.0.2.1", devices=cookie))
    assert await server.guesses(30, Client("198.51.100.1", devices=cookie)) == 10
    assert await server.guesses(30, Client("203.0.113.1", devices=cookie)) == 10  # a stranger's
    await server.enter(Client("192.0.2.1", devices=owner))
    await asyncio.sleep(3601)
    assert await server.guesses(30, Client("198.51.100.1", devices=cookie)) == 10


@simulated
async def test_a_session_is_a_known_device_of_its_own_account_only(server: Server) -> None:
    await attack(server, addresses(20), now() + 60)
    before = now()
    await server.enter(Client("198.51.100.1", session=("ada", "handle")))
    assert now() - before < 0.1
    assert await server.guesses(30, Client("203.0.113.1", session=("ada", "handle"))) == 10
    assert await server.guesses(30, Client("203.0.113.2", session=("bob", "handle"))) == 10
    await server.enter(Client("203.0.113.1", session=("ada", "other")))


@simulated
async def test_a_known_network_keeps_its_budget_when_others_there_spend_theirs(server: Server) -> None:
    await server.enter("192.0.2.1")
    await server.guesses(60, name="bob")
    for number in range(60):
        await server.guess(name=f"user{number}")
    assert not await server.guess(name="eve")
    await server.enter("192.0.2.1")


@simulated
async def test_success_clears_the_failures_of_its_own_pair_and_no_others(server: Server) -> None:
    assert await server.guesses(9) == 9
    await server.enter("192.0.2.1")
    for number in range(41):
        assert await server.guess(name=f"user{number}")
    assert not await server.guess(name="another")
    assert await server.guesses(11, "2001:db8::1", "eve") == 10


@simulated
async def test_successes_are_never_limited(server: Server) -> None:
    """An office behind one address signs in at nine."""
    people = [User(**{**_fields(ADA), "name": f"user{number}"}) for number in range(200)]
    await asyncio.gather(*(server.enter("192.0.2.1", user) for user in people))
    assert await server.guesses(12) == 10


# --- codes and registrations -----------------------------------------------------------------------------------------------


@simulated
async def test_wrong_codes_of_an_app_do_not_refuse_a_recovery_code(server: Server) -> None:
    for number in range(30):
        await server.code("123456", f"192.0.2.{number % 3}")
    assert not await server.code("123456", "198.51.100.1")
    assert await server.code("ABCDE-FGHJK", "192.0.2.1", is_right=True)
    assert await server.code("ABCDE-FGHJK", "198.51.100.1", is_right=True)
    for _ in range(20):
        assert await server.code("WRONG-CODES", "192.0.2.1")
    assert await server.code("ABCDE-FGHJK", "192.0.2.1", is_right=True)


@simulated
async def test_strangers_have_twenty_codes_of_an_app_a_day_and_the_known_device_its_own(server: Server) -> None:
    cookie = await server.enter("192.0.2.1")
    assert sum([await server.code("123456", ip) for ip in addresses(200)]) == 20
    assert await server.code("123 456", Client("192.0.2.9", devices=cookie), is_right=True)
    assert await server.code("123456", "192.0.2.1", is_right=True)  # its network
    await asyncio.sleep(DAY)
    assert sum([await server.code("123456", ip) for ip in addresses(200)]) == 20


@pytest.mark.parametrize("space", ["", " ", "\t", "\n", "\xa0", "\u3000", "\u2028"])
def test_every_spelling_of_a_code_of_an_app_counts_as_one(space: str) -> None:
    secret = new_secret()
    code = space.join(pyotp.TOTP(secret).at(0))
    assert step_of(secret, code, 0) is not None

    @simulated
    async def attacked(server: Server) -> None:
        assert sum([await server.code(code, ip) for ip in addresses(50)]) == 20

    attacked()


@simulated
async def test_passwords_and_codes_have_separate_budgets(server: Server) -> None:
    assert await server.guesses(11) == 10
    assert await server.code("123456")
    assert sum([await server.code("123456") for _ in range(11)]) == 9


@simulated
async def test_a_network_registers_sixty_accounts_an_hour(server: Server) -> None:
    async def registered(ip: str) -> bool:
        try:
            await server.throttle.register(Client(ip))
        except Throttled:
            return False
        return True

    assert sum([await registered("192.0.2.1") for _ in range(70)]) == 60
    assert await registered("192.0.2.2")
    assert sum([await registered(f"2001:db8:0:{number:x}::1") for number in range(256)]) == 240
    await asyncio.sleep(3601)
    assert await registered("192.0.2.1")


# --- waiting ----------------------------------------------------------------------------------------------------------------


@simulated
async def test_waiting_attempts_are_few_and_a_client_that_leaves_frees_its_place(server: Server) -> None:
    await attack(server, addresses(20), now() + 1000)
    clients = [Client(ip) for ip in addresses(200)[100:]]
    tries = [asyncio.create_task(server.guess(client)) for client in clients]
    await asyncio.sleep(0.1)
    waiting = [place for place, tried in enumerate(tries) if not tried.done()]
    assert 0 < len(waiting) <= 8  # those of one account
    clients[waiting[-1]].leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tries[waiting[-1]].done()
    same = [asyncio.create_task(server.guess("198.51.100.1")) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert sum(not tried.done() for tried in same) <= 2  # those of one network
    assert not any(tried.done() for tried in same[:2]) or len(waiting) == 8
    server.throttle.close()
    await asyncio.gather(*tries, *same)


# --- the store ----------------------------------------------------------------------------------------------------------------


class Watched(MemoryDocuments):
    """Counts writes, and fails on request."""

    writes = 0
    is_away = False

    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        if self.is_away:
            raise StoreUnavailable("test", "away")
        self.writes += any(count.amount for count in counts)
        return await super().count(counts, now)


def test_refused_attempts_write_nothing() -> None:
    async def main() -> None:
        documents = Watched()
        server = Server(documents)
        await server.guesses(12)
        before = documents.writes
        await server.guesses(500)
        assert documents.writes == before

    run_fast(main())


def test_the_store_does_not_show_names_or_addresses() -> None:
    async def main() -> None:
        maker = MemoryMaker()
        server = Server(await maker.open())
        await server.guess("192.0.2.1", "my password")
        await server.enter("192.0.2.1")
        assert maker.stored_counts() > 3
        assert not any(word in key for key in maker.data.counts for word in ("password", "192", "ada"))

    run_fast(main())


def test_without_the_store_each_process_counts_for_itself_and_tells_it_later() -> None:
    async def main() -> None:
        documents = Watched()
        server, other = Server(documents), Server(documents)
        assert await server.guesses(4) == 4
        documents.is_away = True
        assert await server.guesses(10) == 6  # it remembers the four
        assert await server.guesses(10, "192.0.2.2") == 10
        await server.enter("192.0.2.3")
        documents.is_away = False
        assert await server.guesses(1, "192.0.2.2") == 0
        assert await other.guesses(10, "192.0.2.2") == 0

    run_fast(main())


@pytest.fixture
def maker(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Any:
    (tmp_path / "data").mkdir()
    made = make(request.param, request, tmp_path)
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("maker", KINDS, indirect=True)
@pytest.mark.gen_test(timeout=60)
async def test_processes_share_every_budget_and_a_restart_keeps_it(maker: DocumentMaker) -> None:
    one, other = Server(await maker.open()), Server(await maker.open())
    cookie = await one.enter("192.0.2.1")
    found = await asyncio.gather(*(server.guess() for server in (one, other) for _ in range(15)))
    assert sum(found) == 10
    restarted = Server(await maker.open())
    assert not await restarted.guess()
    await restarted.enter(Client("192.0.2.1", devices=cookie))
    assert await other.guesses(4, "2001:db8::1", "bob") + await restarted.guesses(20, "2001:db8::2", "bob") == 10
