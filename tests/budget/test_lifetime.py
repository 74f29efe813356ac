"""How a governor ends without being closed: as garbage, with its process, in a forked child."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from cycles_otel.budget.background import shared
from cycles_otel.budget.governor import Governor
from cycles_otel.budget.policy import Policy
from cycles_otel.local import Fault, LocalCycles
from tests.budget import child
from tests.budget.desk import Diary, outcome, reserve, sent, step, unobserved, until, used

QUICK = 0.2


def background_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cycles-otel-background"]


def new_governor(server: LocalCycles, flush: float = QUICK) -> Governor:
    return Governor(server.config(retry_flush_timeout=flush), Policy(), Diary(), unobserved)


class TestGarbage:
    async def test_a_governor_that_nobody_holds_closes_its_client_and_ends_the_thread(
        self, server: LocalCycles
    ) -> None:
        governor = new_governor(server)
        await governor.decide(step())
        client = weakref.ref(await governor._connection.client())
        assert background_threads()
        del governor
        gc.collect()
        await until(lambda: not background_threads())
        gc.collect()
        assert client() is None

    async def test_what_is_pending_is_settled_first(self, server: LocalCycles) -> None:
        governor = new_governor(server, flush=30)
        reservation = await reserve(governor)
        with server.hold("commit") as held:
            reservation.commit(used(40))
            await held.arrived()
            del governor
            gc.collect()
        await until(lambda: not background_threads())
        assert server.ledger().charged("TOKENS") == 40

    async def test_a_reservation_that_outlives_its_governor_is_still_charged(self, server: LocalCycles) -> None:
        other = new_governor(server)
        await other.decide(step())
        governor = new_governor(server)
        reservation = await reserve(governor)
        parts = weakref.ref(governor)
        del governor
        gc.collect()
        assert parts() is None
        await other.decide(step())
        assert await outcome(reservation.commit(used(40))) == "committed"
        assert server.ledger().charged("TOKENS") == 40
        await other.aclose()

    @pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "collected"])
    async def test_nothing_of_it_is_left_in_memory(self, server: LocalCycles, is_closed: bool) -> None:
        governor = new_governor(server)
        await outcome((await reserve(governor)).commit(used(1)))
        settlement = weakref.ref(governor.settlement)
        if is_closed:
            await governor.aclose()
        del governor
        gc.collect()
        await until(lambda: not background_threads())
        gc.collect()
        assert settlement() is None

    async def test_threads_come_and_go_without_a_trace(self, server: LocalCycles) -> None:
        for _ in range(3):
            governor = new_governor(server)
            await governor.decide(step())
            await governor.aclose()
            assert not background_threads()
        assert shared()._ending == {}


class TestExit:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_process_that_ends_settles_first(self, server: LocalCycles, host: str) -> None:
        """The second try needs another connection, and by its name an address, when Python is on its way out."""
        server.inject(Fault("commit", drop="before", times=2))
        run = child.run(server, "reserve", "commit", host=host)
        assert "Traceback" not in run.stderr
        assert server.ledger().charged("TOKENS") == child.USED
        assert len(sent(server, "commit")) == 3

    def test_a_process_that_has_closed_or_dropped_its_governor_ends_as_well(self, server: LocalCycles) -> None:
        for end in ("close", "collect"):
            assert child.run(server, "reserve", "commit", end).stderr == ""
        assert server.ledger().charged("TOKENS") == 2 * child.USED

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
