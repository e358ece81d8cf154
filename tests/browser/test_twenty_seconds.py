"""Somebody who never saw the dashboard ends all sessions of a user from one network on a phone: how many taps and letters it takes.

The time is an estimate by the keystroke-level model (Card, Moran and Newell 1980), with times for a phone. It is printed, and
not asserted: taps and letters are what the pages decide.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from browser.tools import context
from playwright.sync_api import Browser, Locator, Page, expect
from support.server_process import ServerProcess

#: Seconds for a tap or a swipe with pointing, for a letter on a phone's keyboard, and for making up one's mind.
_TAP, _LETTER, _DECISION = 1.1, 0.28, 1.35
#: The length of the shortest password that the server accepts.
_PASSWORD = 15
_PHONE = {"width": 360, "height": 740}


@dataclass
class Newcomer:
    """Somebody at a phone, who reads a page before each decision.

    Attributes:
        taps, swipes, letters, decisions: how many there were so far.
        waits: seconds until pages had loaded.
    """

    page: Page
    taps: int = 0
    swipes: int = 0
    letters: int = 0
    decisions: int = 0
    waits: float = 0.0

    def decide(self, target: Locator) -> None:
        """Make up one's mind, then tap; what is further down is swiped into view first."""
        self.decisions += 1
        self.tap(target)

    def tap(self, target: Locator) -> None:
        """Tap what one was looking for."""
        box = target.bounding_box()
        assert box is not None
        below = box["y"] + box["height"] - _PHONE["height"]
        self.swipes += max(0, -(-int(below) // (_PHONE["height"] // 2)))
        self.taps += 1
        began = time.monotonic()
        target.tap()
        self.page.wait_for_load_state()
        self.waits += time.monotonic() - began

    def type(self, text: str) -> None:
        """Type letters into the field that was tapped, then the key that sends it."""
        self.letters += len(text)
        self.page.keyboard.type(text)
        self.taps += 1
        began = time.monotonic()
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        self.waits += time.monotonic() - began

    @property
    def seconds(self) -> float:
        """The model's estimate."""
        hands = _TAP * (self.taps + self.swipes) + _LETTER * self.letters
        return hands + _DECISION * self.decisions + self.waits


def test_a_newcomer_ends_a_users_sessions_of_one_network_in_six_taps_and_seven_letters(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    """Search the user, tap the network, end all, tap a reason, confirm: what ends, why and the button are on one screen."""
    storage = state.context.storage_state()
    page = context(chromium, viewport=_PHONE, has_touch=True, is_mobile=True, storage_state=storage).new_page()
    page.goto(server.url + "/admin/overview")
    walker = Newcomer(page)
    walker.decide(page.get_by_role("searchbox", name=re.compile("Search username")))
    walker.type("mallory")
    walker.decide(page.get_by_role("link", name="Network 203.0.113.0/24"))
    walker.decide(page.get_by_role("button", name=re.compile("End all .* matching sessions")))
    what, button = page.locator(".confirm aside .facts").bounding_box(), page.locator("main .destroy").bounding_box()
    assert what is not None
    assert button is not None
    assert what["y"] + what["height"] < button["y"] < _PHONE["height"] - button["height"]
    walker.decide(page.locator(".choices .check", has_text="Compromised account"))
    walker.decide(page.locator("main .destroy"))
    expect(page.locator("#list")).to_contain_text("No matching sessions")

    proof = _DECISION + _TAP + _LETTER * _PASSWORD
    print(
        f"\n{walker.taps} taps, {walker.swipes} swipes, {walker.letters} letters, {walker.decisions} decisions,"
        f" {walker.waits:.1f} s for pages: {walker.seconds:.1f} s, with the password {walker.seconds + proof:.1f} s"
    )
    assert (walker.taps, walker.letters, walker.swipes) == (6, 7, 0)
    page.context.close()
