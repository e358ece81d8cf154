"""The overview: its numbers agree with one another and with the pages that they lead to."""

from __future__ import annotations

import html
import re
from urllib.parse import quote_plus

import pytest
from support.browser import Browser
from support.clock import Clock
from support.crowds import crowd, put, record
from support.people import make_operator

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.tops import MAX_TOPS, Tops, TopsHistory
from tornado_sessions.server.parts import Parts


def tiles(page: str) -> dict[str, str]:
    """The numbers at the top by their label."""
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd class=\"big\">\s*<a[^>]*>\s*(.*?)\s*</a>", page, re.DOTALL)
    return dict(found)


def tops(page: str) -> list[tuple[str, str, int]]:
    """The lists of those with the most sessions: link, name and number."""
    lines = re.findall(
        r'<a href="([^"]*)"><bdi>(.*?)</bdi></a>(?:\s*<small>.*?</small>)?\s*<span class="num">([\d,]+)</span>',
        page,
        re.DOTALL,
    )
    return [(html.unescape(link), html.unescape(name), int(number.replace(",", ""))) for link, name, number in lines]


def changes(page: str) -> dict[str, tuple[str, str]]:
    """What the lists say about yesterday, by name."""
    found = {}
    for row in page.split("<li")[1:]:
        change = re.search(r'<small class="change" title="([^"]*)"><span aria-hidden="true">([^<]*)</span>', row)
        if change:
            found[re.findall(r"<bdi>([^<]*)</bdi>", row)[0]] = (change[2], change[1])
    return found


async def shown(browser: Browser, path: str = "/admin/overview") -> str:
    answer = await browser.get(path)
    assert answer.code == 200
    return answer.body.decode()


@pytest.mark.gen_test(timeout=60)
async def test_all_numbers_agree_and_lead_to_lists_with_the_same_number(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    """mallory's 61 of 1,500 are 61 here, on the list and in the sum; active = signed in + anonymous."""
    await make_operator(parts, operator)
    await put(parts.sessions, crowd(1_500, clock()))
    await parts.census.figures(wait=20)
    page = await shown(operator)
    number = {label: int(value.replace(",", "")) for label, value in tiles(page).items() if "." not in value}
    assert number["Active sessions"] == 1_501
    assert number["Active sessions"] == number["Signed in"] + number["Anonymous"]
    found = tops(page)
    assert ("mallory", 61) in [(name, count) for _, name, count in found]
    assert ("203.0.113.0/24", 61) in [(name, count) for _, name, count in found]
    assert all(count <= number["Active sessions"] for *_, count in found)
    assert len(found) > 20
    for link, name, count in found[::3]:
        listed = await shown(operator, link)
        assert re.search(rf"\b{count:,}\b", listed), (link, name, count)


@pytest.mark.gen_test(timeout=60)
async def test_every_link_of_the_page_leads_to_a_page(operator: Browser, parts: Parts, clock: Clock) -> None:
    """Remedies, numbers, tops, marks, jobs and actions: whatever is linked exists."""
    await make_operator(parts, operator)
    hostile = ["<b>x</b>", "a&b=c", "名前", "x" * 300, "a b+c%20d"]
    await put(parts.sessions, [record(n, clock(), name, f"2001:db8:{n}::1") for n, name in enumerate(hostile)])
    await parts.census.figures(wait=20)

    async def end() -> int:
        return 30

    for act in (Action.END_USER, Action.END_EVERYBODY, Action.END_MATCHING, Action.END_SESSION):
        target = record(1, 0, None).record.handle if act is Action.END_SESSION else "a&b"
        await parts.audit.perform(Actor("ada"), act, end, user="<b>x</b>", target=target, reason="Maintenance")
    page = await shown(operator)
    assert "<b>x</b>" not in page
    main = page.partition("<main")[2].partition("</main>")[0]
    links = {html.unescape(link) for link in re.findall(r'href="(/[^"]*)"', main)}
    assert len(links) > 20
    for link in links:
        assert (await operator.get(link)).code in (200, 302), link


@pytest.mark.gen_test(timeout=30)
async def test_each_span_shows_its_own_time_and_any_other_is_the_last_day(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    parts.activity.count("failures", 30)
    titles = {"1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "x": "Last 24 hours", "": "Last 24 hours"}
    for span, title in titles.items():
        page = await shown(operator, f"/admin/overview?span={span}")
        assert f"Active sessions, {title}" in page
        bars = re.findall(r'<svg class="chart low"[^>]*data-tips="([^"]*)"', page)
        assert len(bars) == 3
        assert page.count('<tr><th scope="row">') == {"1h": 60, "7d": 56}.get(span, 48)
        current = span if span in titles and span not in ("", "x") else "24h"
        assert re.search(rf'href="/admin/overview\?span={current}" aria-current="page"', page)
        assert f'data-live="/admin/live?span={current}"' in page
    chinese = (await operator.get("/admin/overview", Accept_Language="zh-CN")).body.decode()
    assert "最近 24 小时" in chinese
    assert "Last 24 hours" not in chinese


@pytest.mark.gen_test(timeout=30)
async def test_a_bulk_end_is_marked_with_a_link_and_not_red(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    for _ in range(10):
        parts.activity.count("ended", 5)
        clock.ahead += 900
    await operator.log_in("root")

    async def end() -> int:
        parts.activity.count("ended", 412)
        return 412

    await parts.audit.perform(Actor("ada"), Action.END_MATCHING, end, target="idle", reason="Maintenance")
    clock.ahead += 3
    page = await shown(operator)
    assert "412 sessions ended by ada" in page
    assert re.search(r'href="/admin/audit\?before=\d+"[^>]*>[^<]*<(title|bdi)>', page)
    assert "bar told" in page
    assert "bar over" not in page


@pytest.mark.gen_test(timeout=30)
async def test_numbers_without_data_from_yesterday_say_so(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    page = await shown(operator)
    numbers = re.findall(r'class="delta[^"]*"[^>]*>(.*?)</', page, re.DOTALL)
    assert sum("No data from yesterday" in number for number in numbers) >= 5, numbers


@pytest.mark.gen_test(timeout=30)
async def test_a_burst_of_failures_is_the_first_line_and_red(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    for _ in range(10):
        parts.activity.count("failures", 5)
        clock.ahead += 900
    parts.activity.count("failures", 200)
    clock.ahead += 60
    await operator.log_in("root")
    page = await shown(operator)
    first = page.partition('<div class="health">')[2].partition("</li>")[0]
    assert "failed sign-ins a minute" in first
    assert "usually" in first
    assert f'href="/admin/audit?act={quote_plus(Action.LOG_IN_FAILED.value)}"' in first
    assert "bar over" in page
    assert 'class="delta bad"' in page


@pytest.mark.gen_test(timeout=30)
async def test_the_page_says_how_old_its_count_is(operator: Browser, parts: Parts, clock: Clock) -> None:
    """While another process holds the lease of the count, the page shows the earlier one with its time."""
    await make_operator(parts, operator)
    await shown(operator)
    assert await Leases(parts.documents).take("census") is not None
    clock.ahead += 120
    assert "sessions counted at" in await shown(operator)


@pytest.mark.gen_test(timeout=60)
async def test_tops_say_how_much_more_or_less_they_have_than_yesterday(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    await put(
        parts.sessions, (record(n, clock(), user) for n, user in enumerate(["eve"] * 9 + ["bob"] * 4 + ["ann"] * 2))
    )
    await parts.census.figures(wait=20)
    assert changes(await shown(operator)) == {}
    before = Tops(users=[("bob", 6), ("eve", 2), ("ann", 2)])
    await TopsHistory(parts.documents).keep(clock() - 86400, before)
    clock.ahead += 61
    found = changes(await shown(operator))
    assert (found["eve"], found["bob"], found["ann"]) == (
        ("+7", "2 at this time yesterday"),
        ("−2", "6 at this time yesterday"),
        ("=", "2 at this time yesterday"),
    )
    assert found["root"][0] == "+1"


@pytest.mark.gen_test(timeout=60)
async def test_somebody_who_was_not_among_the_tops_yesterday_is_new(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    await put(parts.sessions, (record(n, clock(), "eve") for n in range(9)))
    await parts.census.figures(wait=20)
    others = [(f"user{n}", 5) for n in range(MAX_TOPS)]
    await TopsHistory(parts.documents).keep(clock() - 86400, Tops(users=others))
    clock.ahead += 61
    assert changes(await shown(operator))["eve"] == ("new", "at most 5 at this time yesterday")
