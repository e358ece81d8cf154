"""``health``: answers "is something wrong?" with the self-check and what the activity shows, worst first, each with its remedy.

It must not know pages or languages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_network

from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.activity import DAY, MINUTE, Snapshot
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.job import Job, JobState
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.operations.self_check import Check, Grade, Remedy, check_of, self_check, worst_first
from tornado_sessions.server.operations.trends import Trends
from tornado_sessions.server.operations.usual import Band

__all__ = ["band_texts", "health", "rate_text"]

#: The 95th percentile of the store's answers from which it is slow, in milliseconds.
_SLOW = 250.0
#: Minutes without a removal of expired sessions after which that is a problem. Each process does it every minute.
_LATE = 5
#: Seconds without progress after which a job counts as stopped: other processes take it over after ten.
_STOPPED = 30.0
#: From this share of the sessions on, a private network is probably that of an unknown proxy.
_FROM_PROXY = 0.9
#: From this upper limit on, a band has no decimals.
_WHOLE = 3.0


async def health(
    sessions: Sessions, people: People, audit: Audit, jobs: Sequence[Job], snapshot: Snapshot, trends: Trends
) -> list[Check]:
    """Return all findings, worst first.

    Raises:
        StoreUnavailable: the store of the accounts and the audit log does not answer.
    """
    found = [
        _with_traffic(check, sessions, snapshot)
        for check in await self_check(sessions, people, audit)
        if not check.is_fact
    ]
    return worst_first([*_of_rates(trends), *_of_jobs(jobs, snapshot.at), *_of_cleanup(snapshot), *found])


def _with_traffic(check: Check, sessions: Sessions, snapshot: Snapshot) -> Check:
    """Return a finding of the self-check, made more precise by what was measured."""
    latency = snapshot.latency
    if check.sentence.text == N_("Store (%s)") and latency is not None:
        half, most = (f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in latency)
        detail = Message(N_("answers in %s ms, 95 %% under %s ms"), (half, most))
        if latency.most < _SLOW:
            return check._replace(detail=detail)
        return check._replace(
            grade=Grade.NOTE, detail=detail, remedy=Remedy(N_("What to check"), page="/settings#store")
        )
    if check.sentence.text == N_("No trusted proxies") and _sees_real_addresses(snapshot):
        return check_of(Grade.GOOD, N_("Proxies"), N_("none, real IP addresses seen"))
    if check.sentence.text == N_("Proxies") and _sees_real_addresses(snapshot):
        many = len(sessions.config.trusted_proxies)
        detail = Message.plural("%s trusted, real IP addresses seen", "%s trusted, real IP addresses seen", many)
        return check._replace(detail=detail)
    return check


def _sees_real_addresses(snapshot: Snapshot) -> bool:
    figures = snapshot.figures
    if figures is None or not figures.tops.networks:
        return False
    network, sessions = figures.tops.networks[0]
    return sessions < _FROM_PROXY * figures.active or not ip_network(network).is_private


def _of_rates(trends: Trends) -> list[Check]:
    failures, sign_ins = trends.rate("failures"), trends.rate("sign-ins")
    remedy = Remedy(N_("View failures"), page=f"/audit?act={Action.LOG_IN_FAILED.value.replace(' ', '+')}")
    found = []
    if failures.since is not None and failures.band is not None:
        since = f"{datetime.fromtimestamp(failures.since, UTC):%H:%M} UTC"
        sentence = Message(N_("%s failed sign-ins a minute"), (rate_text(failures.now),))
        values = (*band_texts(failures.band), since)
        found.append(check_of(Grade.BAD, sentence, N_("usually %s–%s, since %s"), *values, remedy=remedy))
    elif failures.band is not None:
        values = (rate_text(failures.now), *band_texts(failures.band))
        found.append(check_of(Grade.GOOD, N_("Failed sign-ins"), N_("%s a minute, usually %s–%s"), *values))
    if sign_ins.is_low and sign_ins.band is not None:
        sentence = Message(N_("Only %s sign-ins a minute"), (rate_text(sign_ins.now),))
        remedy = Remedy(N_("View sign-ins"), page=f"/audit?act={Action.LOG_IN.value}")
        found.append(check_of(Grade.NOTE, sentence, N_("usually %s–%s"), *band_texts(sign_ins.band), remedy=remedy))
    return found


def rate_text(rate: float) -> str:
    """Return a rate with one decimal below ten, and none above or if it is a whole number."""
    rounded = round(rate, 1 if rate < 10 else None)
    return f"{rounded:.1f}".removesuffix(".0")


def band_texts(band: Band) -> tuple[str, str]:
    """Return the limits of a band, as whole numbers unless it is near zero."""
    if band.high >= _WHOLE:
        return rate_text(math.floor(band.low)), rate_text(math.ceil(band.high))
    return rate_text(band.low), rate_text(band.high)


def _of_jobs(jobs: Sequence[Job], now: float) -> list[Check]:
    found = []
    running = [job for job in jobs if job.state is JobState.RUNNING]
    found += [
        check_of(Grade.NOTE, N_("A job waits for your confirmation"), remedy=_to_job(job))
        for job in jobs
        if job.state is JobState.PAUSED
    ]
    for job in running:
        if job.lease_until < now - _STOPPED:
            detail = N_("it continues when a server runs")
            found.append(check_of(Grade.BAD, N_("A job has stopped"), detail, remedy=_to_job(job)))
    found += [
        check_of(Grade.NOTE, N_("A job has failed"), "%s", job.error, remedy=_to_job(job))
        for job in jobs
        if job.state is JobState.FAILED and (job.finished_at or 0) > now - DAY
    ]
    if running and not found:
        found.append(Check(Grade.GOOD, Message(N_("Jobs")), Message.plural("%s running", "%s running", len(running))))
    return found


def _to_job(job: Job) -> Remedy:
    return Remedy(N_("View job"), page=f"/jobs/{job.id}")


def _of_cleanup(snapshot: Snapshot) -> list[Check]:
    now = int(snapshot.at // MINUTE)
    runs = [slot for slot, name in snapshot.minutes if name == "cleanups"]
    counted = [slot for slot, name in snapshot.minutes if name == "pings"]
    ago = now - max(runs, default=now - 2 * _LATE)
    if ago <= _LATE and runs:
        detail = Message(N_("just now, expired sessions are never shown"))
        if ago:
            detail = Message.plural(
                "%s minute ago, expired sessions are never shown",
                "%s minutes ago, expired sessions are never shown",
                ago,
            )
        return [Check(Grade.GOOD, Message(N_("Cleanup")), detail)]
    # A server that has just started has not cleaned up yet.
    if any(slot < now - _LATE for slot in counted):
        remedy = Remedy(N_("Clean up"), command="tornado-sessions prune")
        late = N_("expired sessions take up space, but are never shown")
        return [check_of(Grade.NOTE, N_("No cleanup in the last minutes"), late, remedy=remedy)]
    return []
