"""The server: whether it answers as Cycles does, in time, and knows the key and the tenant."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
from runcycles import CyclesConfig, CyclesResponse

from cycles_otel.budget.decision import error_code, unavailable_reason
from cycles_otel.budget.subject import Subject
from cycles_otel.doctor import budgets
from cycles_otel.doctor.conversation import Conversation
from cycles_otel.doctor.finding import Finding, note, skipped, well, wrong
from cycles_otel.doctor.setup import Asked

SERVER, KEY, CLOCK, LATENCY = "server", "key and tenant", "clock", "latency"
_SKEW = 5.0
"""Seconds; the header of HTTP knows whole ones."""
_SLOW = 0.25
_ASKED = 3


def look(config: CyclesConfig, subject: Subject, asked: Asked) -> Iterator[Finding]:
    """Everything that the server can be asked without changing it."""
    steps = asked.steps(subject)
    with Conversation(config) as server:
        began = time.perf_counter()
        response = server.balances()
        lack = unavailable_reason("balances", response)
        if lack is not None:
            yield wrong(SERVER, f"{lack}: {server.said_in(response)}", server.mend_the_way_to(response))
            yield from (skipped(each, "the server gave no answer") for each in (KEY, *budgets.checks(steps)))
            return
        yield well(SERVER, f"answers as Cycles does, the first time in {(time.perf_counter() - began) * 1000:.0f} ms")
        yield from _clock(response)
        if _may_not_read(server, response):
            found = f"the key belongs to {config.tenant}, and may not read its balances: {server.said_in(response)}"
            yield note(KEY, found, "Allow it to, if what is left in each budget is to be shown; steps do without")
        elif not response.is_success:
            yield _refused(server, response)
            yield from (skipped(each, "the key is refused") for each in budgets.checks(steps))
            return
        else:
            yield well(KEY, f"the key reads the balances of {config.tenant}")
        yield _latency(server)
        yield from budgets.look(server, response, steps)


def _clock(response: CyclesResponse) -> Iterator[Finding]:
    date = response.server_date_ms
    if date is None:
        return
    skew = time.time() - date / 1000
    if abs(skew) > _SKEW:
        which = "ahead of" if skew > 0 else "behind"
        yield note(
            CLOCK,
            f"this machine is {abs(skew):.0f} s {which} the server",
            "Set both by NTP: leases hold all the same, but the times of traces and ledger do not match",
        )
    else:
        yield well(CLOCK, f"within {_SKEW:g} s of the server's")


def _may_not_read(server: Conversation, response: CyclesResponse) -> bool:
    return response.status == httpx.codes.FORBIDDEN and response.cycles_tenant == server.config.tenant


def _refused(server: Conversation, response: CyclesResponse) -> Finding:
    code, tenant = error_code(response) or str(response.status), server.config.tenant
    found = f"{response.status} {code}: {server.said_in(response)}"
    if any(state in found for state in ("TENANT_SUSPENDED", "TENANT_CLOSED")):
        return wrong(KEY, found, f"An operator has to open the tenant {tenant} again")
    if response.status == 401:
        return wrong(KEY, found, "Set CYCLES_API_KEY to a key that the server knows")
    if response.status == 403:
        owner = response.cycles_tenant
        instead = f"set CYCLES_TENANT={owner}, whose key this is" if owner else "name the tenant of this key"
        return wrong(KEY, found, f"Use a key of the tenant {tenant}, or {instead}")
    return wrong(KEY, found, "Check CYCLES_BASE_URL, CYCLES_TENANT and the other levels against the message")


def _latency(server: Conversation) -> Finding:
    """The best of a few replies, since the first pays for the connection."""
    took = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        server.balances(limit="1")
        took.append(time.perf_counter() - began)
    found = f"{min(took) * 1000:.1f} ms for a reply"
    if min(took) < _SLOW:
        return well(LATENCY, found)
    return note(LATENCY, found, "Each step waits for one reply: bring the server nearer to the program")
