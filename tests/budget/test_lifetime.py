"""How a governor ends without being closed: as garbage, with its process, in a forked child."""

from __future__ import annotations

import gc
import weakref

import pytest
from runcycles import AsyncCyclesClient

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles
from tests.budget import child
from tests.budget.desk import Diary, outcome, reserve, sent, step, until, used

QUICK = 0.2


class Clients:
    """Makes governors, and knows which of their clients still exist."""

    def __init__(self, server: LocalCycles) -> None:
        self._server = server
        self._made: weakref.WeakSet[AsyncCyclesClient] = weakref.WeakSet()

    def governor(self, flush: float = QUICK) -> Governor:
        return Governor(self._server.config(retry_flush_timeout=flush), Policy(), Diary(), self._note)

    def _note(self, client: AsyncCyclesClient) -> AsyncCyclesClient:
        self._made.add(client)
        return client

    @property
    def left(self) -> int:
        """How many still exist, garbage apart."""
        gc.collect()
        return len(self._made)


@pytest.fixture
def clients(server: LocalCycles) -> Clients:
    return Clients(server)


class TestGarbage:
    async def test_a_governor_that_nobody_holds_closes_its_client(self, clients: Clients) -> None:
        governor = clients.governor()
        await governor.decide(step())
        assert clients.left == 1
        del governor
        await until(lambda: clients.left == 0)

    async def test_what_is_pending_is_settled_first(self, server: LocalCycles, clients: Clients) -> None:
        governor = clients.governor(flush=30)
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            reservation.commit(used(40))
            await held.arrived()
            del governor
            gc.collect()
        await until(lambda: server.ledger().charged("TOKENS") == 40)
        del reservation
        await until(lambda: clients.left == 0)

    async def test_a_reservation_that_outlives_its_governor_is_charged_and_closes_after_itself(
        self, server: LocalCycles, clients: Clients
    ) -> None:
        other, governor = clients.governor(), clients.governor()
        await other.decide(step())
        reservation = await reserve(governor)
        del governor
        await until(lambda: clients.left == 1)
        assert await outcome(reservation.commit(used(40))) == "committed"
        assert server.ledger().charged("TOKENS") == 40
        await until(lambda: clients.left == 1)
        await other.aclose()
        assert clients.left == 0

    @pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "collected"])
    async def test_nothing_of_it_is_left_in_memory(self, clients: Clients, is_closed: bool) -> None:
        governor = clients.governor()
        await outcome((await reserve(governor)).commit(used(1)))
        settlement = weakref.ref(governor.settlement)
        if is_closed:
            await governor.aclose()
        del governor
        await until(lambda: clients.left == 0 and settlement() is None)

    @pytest.mark.parametrize("end", ["close", "collect"])
    def test_the_background_thread_ends_with_the_last_governor(self, server: LocalCycles, end: str) -> None:
        assert child.run(server, "reserve", "commit", end, "await-no-thread").stderr == ""
        assert server.ledger().charged("TOKENS") == child.USED


class TestExit:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_process_that_ends_settles_first(self, server: LocalCycles, host: str) -> None:
        """The second try needs another connection, and by its name an address, when Python is on its way out."""
        server.inject(Fault("commit", drop="before", times=2))
        run = child.run(server, "reserve", "commit", host=host)
        assert "Traceback" not in run.stderr
        assert server.ledger().charged("TOKENS") == child.USED
        assert len(sent(server, "commit")) == 3

    def test_the_flush_timeout_bounds_the_wait(self, server: LocalCycles) -> None:
        server.inject(Fault("commit", status=503, times=None))
        child.run(server, "reserve", "commit", flush=QUICK)
        assert server.ledger().charged("TOKENS") == 0


class TestFork:
    def test_a_child_governs_like_its_parent(self, server: LocalCycles) -> None:
        run = child.run(server, "reserve", "fork", "reserve", "commit", "close")
        assert "Traceback" not in run.stderr
        assert server.ledger().charged("TOKENS") == child.USED
        assert len(server.ledger().reservations) == 2

    @pytest.mark.parametrize("end", [[], ["close"]], ids=["exit", "close"])
    def test_it_does_not_wait_for_what_its_parent_has_begun(self, server: LocalCycles, end: list[str]) -> None:
        with server.hold("commit"):
            process = child.start(server, "reserve", "commit", "pause", "fork", "reserve", *end)
            child.until_sent(server, "commit")
            run = child.ended(process)
        assert "Traceback" not in run.stderr

    def test_a_child_settles_at_its_exit(self, server: LocalCycles) -> None:
        child.run(server, "reserve", "fork", "reserve", "commit")
        assert server.ledger().charged("TOKENS") == child.USED
