"""Requests that are under way at once have clients of their own, within a bound, and none of them waits for another."""

from __future__ import annotations

import asyncio
import gc
import itertools

import pytest
from runcycles import AsyncCyclesClient

from cycles_otel.budget import clients, connection
from cycles_otel.budget.clients import Clients
from cycles_otel.budget.exchange import bounded_client
from cycles_otel.local import LocalCycles
from tests.budget.conftest import MakeGovernor
from tests.budget.desk import outcome, reserve, sent, until, used


class Made:
    """Clients of a server, and those that were made for them."""

    def __init__(self, server: LocalCycles) -> None:
        self.clients: list[AsyncCyclesClient] = []
        self.lending = Clients(lambda: self._make(server))
        self.asked: list[AsyncCyclesClient] = []

    def _make(self, server: LocalCycles) -> AsyncCyclesClient:
        self.clients.append(bounded_client(server.config()))
        return self.clients[-1]

    async def ask(self) -> bool:
        """One request with a client that is lent: whether it was answered."""
        with self.lending.lent() as client:
            self.asked.append(client)
            return (await client.get_balances(tenant="acme")).is_success

    async def ask_at_once(self, server: LocalCycles, count: int) -> None:
        """So many requests, all of them with the server before the first is answered."""
        self.asked.clear()
        with server.hold("balances") as held:
            asking = [asyncio.create_task(self.ask()) for _ in range(count)]
            await held.arrived(count)
        assert all(await asyncio.gather(*asking))


@pytest.fixture
def made(server: LocalCycles) -> Made:
    return Made(server)


async def test_requests_one_after_the_other_have_the_same_client(made: Made) -> None:
    for _ in range(5):
        assert await made.ask()
    assert len(made.clients) == 1


async def test_requests_at_once_have_a_client_each(
    server: LocalCycles, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_BETWEEN_TWO", 0.0)
    await made.ask_at_once(server, 6)
    assert len(set(made.asked)) == 6
    await made.ask_at_once(server, 6)
    assert len(made.clients) == 6


async def test_beyond_the_bound_they_share_them_evenly(
    server: LocalCycles, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_BETWEEN_TWO", 0.0)
    monkeypatch.setattr(clients, "_MOST", 3)
    await made.ask_at_once(server, 9)
    assert sorted(made.asked.count(client) for client in made.clients) == [3, 3, 3]


async def test_a_burst_does_not_wait_until_clients_are_made(
    server: LocalCycles, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.chain([100.0, 100.05, 100.05, 100.2], itertools.repeat(100.25))
    monkeypatch.setattr(clients, "monotonic", lambda: next(now))
    await made.ask_at_once(server, 6)
    assert len(made.clients) == 2


async def test_all_of_them_are_closed(server: LocalCycles, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_BETWEEN_TWO", 0.0)
    await made.ask_at_once(server, 3)
    with server.hold("balances") as held:
        asking = asyncio.create_task(made.ask())
        await held.arrived()
        await made.lending.aclose()
    await asking
    for client in made.clients:
        assert "closed" in str((await client.get_balances(tenant="acme")).error_message)


async def test_a_settled_step_leaves_nothing_for_the_collector_of_garbage(
    server: LocalCycles, make_governor: MakeGovernor
) -> None:
    """A program that governs many steps would pay for each with pauses of all of its threads."""
    governor = make_governor()

    async def govern() -> None:
        assert await outcome((await reserve(governor)).commit(used(1))) == "committed"

    await govern()
    await until(lambda: not governor.settlement.pending())
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await govern()
        await until(lambda: not governor.settlement.pending() and len(sent(server, "commit")) == 2)
        await asyncio.sleep(0.05)
        gc.collect()
        left = {type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("cycles_otel")}
        assert left == set()
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_what_no_step_waits_for_takes_turns_and_a_step_does_not(
    server: LocalCycles, make_governor: MakeGovernor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_TURNS", 3)
    governor = make_governor()
    reservations = [await reserve(governor) for _ in range(5)]
    with server.hold("release") as held:
        released = [reservation.release("run_failed") for reservation in reservations]
        await held.arrived(3)
        with pytest.raises(TimeoutError):
            await held.arrived(4, timeout=0.3)
        assert (await reserve(governor)).is_open
    assert {await outcome(each) for each in released} == {"released"}
