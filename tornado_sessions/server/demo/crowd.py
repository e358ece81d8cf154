"""The made-up people of the demo, with their devices, addresses and sessions.

All addresses are reserved for documentation (RFC 5737, RFC 3849). It must not know stores.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from tornado_sessions.cookie import new_token
from tornado_sessions.record import Create, Record

__all__ = ["SUSPECT", "SUSPECT_NETWORK", "SUSPECT_SESSIONS", "Crowd", "place_of"]

#: The user of the demo's story: too many sessions, half of them from one network.
SUSPECT, SUSPECT_NETWORK, SUSPECT_SESSIONS, _IN_NETWORK = "mallory", "203.0.113.0/24", 61, 31

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

_FIRST = """
    ada amara anders beatriz carmen chiara dmitri elif emil farid freya greta hana hiro ines ivan jonas kaito kemal lars leila
    liam lucia luca malik maya mei mila nadia nikolai noor olga oskar paula petra quentin rosa rui sana selma sven tariq tomas
    uma vera viktor wanda wen xenia yara yusuf zofia
""".split()  # noqa: SIM905 - a list of one name a line would be a page
_LAST = """
    adeyemi almeida becker bianchi cohen dubois eriksson fischer garcia haddad hansen ito jansen kaya khan kim kowalski lopez
    lindqvist martin mensah meyer moreau nguyen novak okafor oliveira park patel petrov popescu rahman rossi santos sato schmidt
    silva smith suzuki tanaka varga virtanen walker wang weber yilmaz zhang zimmermann
""".split()  # noqa: SIM905 - a list of one name a line would be a page
_OTHERS = ("李娜", "王伟", "zoë", "Grace.Hopper", "DevOps", "björn.ångström")

_WINDOWS, _MAC, _LINUX = "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64"
_IPHONE, _PHONE = "iPhone; CPU iPhone OS 18_6 like Mac OS X", "Linux; Android 10; K"
_KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
#: User agents, and how often each occurs.
_AGENTS = {
    f"Mozilla/5.0 ({_WINDOWS}) {_KIT} Chrome/150.0.0.0 Safari/537.36": 30,
    f"Mozilla/5.0 ({_PHONE}) {_KIT} Chrome/150.0.0.0 Mobile Safari/537.36": 16,
    f"Mozilla/5.0 ({_IPHONE}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1": 14,
    f"Mozilla/5.0 ({_MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.2 Safari/605.1.15": 10,
    f"Mozilla/5.0 ({_MAC}) {_KIT} Chrome/150.0.0.0 Safari/537.36": 8,
    f"Mozilla/5.0 ({_WINDOWS}) {_KIT} Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0": 8,
    f"Mozilla/5.0 ({_WINDOWS}; rv:151.0) Gecko/20100101 Firefox/151.0": 6,
    f"Mozilla/5.0 ({_LINUX}; rv:151.0) Gecko/20100101 Firefox/151.0": 4,
    f"Mozilla/5.0 ({_WINDOWS}) {_KIT} Chrome/149.0.0.0 Safari/537.36 OPR/134.0.0.0": 1,
    "curl/8.18.0": 2,
    "python-requests/2.32.5": 1,
}

_CITIES = (
    "Utrecht, NL", "Aarhus, DK", "Lyon, FR", "Austin, US", "Kraków, PL", "Porto, PT", "Ghent, BE", "Turin, IT", "Leeds, GB",
    "Graz, AT", "Malmö, SE", "Valencia, ES", "Osaka, JP", "Toronto, CA", "Accra, GH", "Chengdu, CN",
)  # fmt: skip


def place_of(ip: str) -> str:
    """Return a made-up place for an address: the same for neighbours."""
    try:
        address = ip_address(ip)
    except ValueError:
        return ""
    if address.is_loopback:
        return ""
    block = int(address) >> 5 if isinstance(address, IPv4Address) else int(address) >> 80
    return _CITIES[block * 7 % len(_CITIES)]


class Crowd:
    """Makes people and their sessions, the same ones for each start.

    Args:
        now: the time in UTC seconds at which the sessions are live.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.chance = random.Random(15)
        pairs = [f"{first}.{last}" for first in _FIRST for last in _LAST]
        self.chance.shuffle(pairs)
        #: The usernames.
        self.names = [*_FIRST, *_OTHERS, *pairs]
        self.chance.shuffle(self.names)
        self._homes = {name: self._home() for name in self.names}

    def _home(self) -> tuple[str, str]:
        """Return a person's usual address and user agent."""
        return self.address(), self.agent()

    def address(self) -> str:
        """Return a random address."""
        kind = self.chance.random()
        if kind < 0.45:
            return f"2001:db8:{self.chance.randrange(64, 4096):x}::{self.chance.randrange(1, 65536):x}"
        network = "192.0.2" if kind < 0.6 else "198.51.100" if kind < 0.98 else "203.0.113"
        return f"{network}.{self.chance.randrange(1, 255)}"

    def agent(self) -> str:
        """Return a random user agent."""
        return self.chance.choices(list(_AGENTS), list(_AGENTS.values()))[0]

    def sessions(self, count: int) -> Iterator[Create]:
        """Yield sessions of people and visitors, ``SUSPECT_SESSIONS`` of them of the suspect."""
        for number in range(min(SUSPECT_SESSIONS, count)):
            yield self.suspect(number)
        for _ in range(max(0, count - SUSPECT_SESSIONS)):
            yield self.session()

    def session(self, seen: float | None = None) -> Create:
        """Return a session. ``seen`` is its last use in UTC seconds; ``None``: some time ago."""
        user = self.chance.choice(self.names) if self.chance.random() < 0.83 else None
        ip, agent = self._homes[user] if user is not None else self._home()
        if self.chance.random() < 0.25:
            ip, agent = self._home()
        is_remembered = user is not None and self.chance.random() < 0.3
        idle = 30 * _DAY if is_remembered else 1800.0
        if seen is None:
            unused, longest = (1 * _DAY, 20 * _DAY) if is_remembered else (6 * _MINUTE, 29 * _MINUTE)
            seen = self.now - min(self.chance.expovariate(1 / unused), longest * self.chance.random())
            age = (9 * _DAY if is_remembered else 11 * _HOUR) * self.chance.random() ** 2
        else:
            age = 0.0
        return self._create(user, ip, agent, seen, age, idle)

    def suspect(self, number: int) -> Create:
        """Return a session of the suspect: recent sign-ins, from one network and from all over the world in turn."""
        is_in_network = number < _IN_NETWORK
        ip = f"203.0.113.{60 + 6 * number}" if is_in_network else self.address()
        while not is_in_network and ip.startswith("203.0.113."):
            ip = self.address()
        age = (50 * _MINUTE if is_in_network else 6 * _HOUR) * self.chance.random()
        seen = self.now - min(age, 25 * _MINUTE) * self.chance.random()
        agent = "python-requests/2.32.5" if number % 4 == 1 else self.agent()
        return self._create(SUSPECT, ip, agent, seen, max(0.0, age - (self.now - seen)), 1800.0)

    def _create(self, user: str | None, ip: str, agent: str, seen: float, age: float, idle: float) -> Create:
        """Return a session that was last used at ``seen``, ``age`` seconds after its creation."""
        created = seen - age
        absolute = created + (30 * _DAY if idle > _HOUR else 12 * _HOUR)
        return Create(
            record=Record(
                handle=new_token().handle,
                user=user,
                ip=ip,
                user_agent=agent,
                created_at=created,
                signed_in_at=min(seen, created + 5) if user is not None else None,
                last_seen_at=seen,
                expires_at=min(seen + idle, absolute),
                secret_hash=secrets.token_bytes(32),
                rotated_at=max(created, seen - 900),
                confirmed_at=seen,
                absolute_at=absolute,
                idle_timeout=idle,
                persistent=idle > _HOUR,
                data={"theme": b'"dark"', "cart": b'["book", 3]'} if age % 3 < 1 else {"visits": b"7"},
            )
        )
