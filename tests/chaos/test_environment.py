"""What the machine does to a program: clocks that jump, loops that close early, disks that refuse, files that rot."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent

from cycles_otel import CyclesRunHooks
from cycles_otel.local import LocalCycles
from tests.chaos.accounts import Accounts
from tests.chaos.clock import SteppedClock
from tests.chaos.killed import Life, live_after, live_on_a_full_disk, records, start
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.troubles import Kind, Trouble
from tests.chaos.workload import Casting, Governed, a_nested_tool_that_hangs, agents_as_tools, awaited
from tests.telemetry.witness import Witness

BUDGETS = {"tenant:acme": {"TOKENS": 10**9, "RISK_POINTS": 10**9}}
POINTS = 3
LEASE_AND_GRACE_MS = 66_000
MINUTE_MS = 60_000

GARBAGE = {
    "v2-empty.json": b"",
    "v2-half.json": b'{"version": 1, "reservation_id": "r-1", "mode": "com',
    "v2-binary.json": bytes(range(256)),
    "v2-future.json": b'{"version": 99, "reservation_id": "r-2"}',
    "v2-list.json": b"[1, 2, 3]",
    "v2-typed.json": b'{"version": 1, "reservation_id": 7, "mode": "commit"}',
}


class Desk:
    """A server behind a proxy, and one run of agents and tools whose use is known."""

    def __init__(self, witness: Witness) -> None:
        self.clock = SteppedClock()
        self.server = LocalCycles(BUDGETS, clock=self.clock)
        self.proxy = ChaosProxy(lambda: self.server.url)
        self.oracle = Oracle()
        self.risks: dict[str, int] = {}
        self._witness = witness
        self._runs = 0

    def hooks(self, **connection: Any) -> CyclesRunHooks:
        return CyclesRunHooks(
            config=self.server.config(base_url=self.proxy.url, **connection),
            llm_unit="TOKENS",
            llm_estimate=2_000,
            default_tool_risk=POINTS,
            recorder=self._witness.recorder,
            settle_timeout=0.0,
        )

    @property
    def connection(self) -> dict[str, Any]:
        """How a program of its own reaches the server."""
        return {"base_url": self.proxy.url, "api_key": self.server.api_key, "tenant": self.server.tenant}

    def run(self, hooks: CyclesRunHooks, shape: Callable[[Casting], Agent[Any]] = agents_as_tools) -> Governed:
        self._runs += 1
        cast = Casting(f"run{self._runs}", random.Random(self._runs), self.oracle, self.risks, points=(POINTS,))
        return Governed(cast, shape(cast), awaited, tracing=False, hooks=hooks)

    def violations(self) -> list[str]:
        return Accounts.of_witness(
            self.oracle, self.server.ledger(), self.proxy.log, self._witness, self.risks, ample=True
        ).violations()


@pytest.fixture
def desk(witness: Witness) -> Iterator[Desk]:
    desk = Desk(witness)
    with desk.server, desk.proxy:
        yield desk


class TestClocks:
    @pytest.mark.parametrize(
        "ms", [LEASE_AND_GRACE_MS, 3 * MINUTE_MS, -3 * MINUTE_MS], ids=["lease", "forward", "back"]
    )
    @pytest.mark.parametrize("request_number", range(1, 8))
    async def test_a_server_whose_clock_jumps_charges_what_was_used(
        self, desk: Desk, ms: int, request_number: int
    ) -> None:
        def jump(passage: Passage) -> Trouble | None:
            if passage.number == request_number:
                desk.clock.step(ms)
                desk.server.sweep()
            return None

        desk.proxy.script = jump
        async with desk.hooks() as hooks:
            await desk.run(hooks).play(hooks)
        assert desk.oracle.used
        assert not desk.violations()


class TestLoops:
    def test_a_loop_that_closes_while_commits_are_on_their_way_loses_none(self, desk: Desk) -> None:
        hooks = desk.hooks()
        with desk.server.hold("commit"):
            asyncio.run(desk.run(hooks).start())
        asyncio.run(hooks.aclose())
        assert len(desk.oracle.used) > 5
        assert not desk.violations()

    # The SDK cannot leave its own trace in a run that the garbage collector finalises, and raises where nobody listens.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_loop_that_is_closed_in_the_middle_of_a_run_keeps_what_was_used(self, desk: Desk) -> None:
        hooks, loop = desk.hooks(), asyncio.new_event_loop()
        run = desk.run(hooks, a_nested_tool_that_hangs)
        gate = run.cast.gate

        def until_it_hangs(unfinished: Coroutine[Any, Any, Any]) -> None:
            loop.create_task(unfinished)
            loop.run_until_complete(gate.wait())
            loop.close()

        loop.set_exception_handler(lambda loop, context: None)  # It says that pending tasks are destroyed: they are.
        until_it_hangs(run.start())
        del run
        gc.collect()
        asyncio.run(hooks.aclose())
        assert len(desk.oracle.used) > 2
        assert not desk.violations()

    def test_one_hooks_object_serves_loop_after_loop(self, desk: Desk) -> None:
        hooks = desk.hooks()
        for _ in range(3):
            asyncio.run(desk.run(hooks).play(hooks))
        asyncio.run(hooks.aclose())
        assert not desk.violations()


class TestDisks:
    async def test_a_journal_that_cannot_be_made_is_said_and_everything_is_settled(
        self, desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").write_text("no folder")
        with caplog.at_level(logging.WARNING):
            async with desk.hooks(journal_enabled=True, journal_dir=str(tmp_path / "file" / "journal")) as hooks:
                await desk.run(hooks).play(hooks)
        assert "journal" in caplog.text
        assert not desk.violations()

    def test_a_full_disk_loses_nothing_while_the_process_lives(self, desk: Desk, tmp_path: Path) -> None:
        life = Life(desk.connection, str(tmp_path), "ALLOW_IF_AVAILABLE")
        program = start(life, live_on_a_full_disk)
        program.join()
        ledger = desk.server.ledger()
        assert program.exitcode == 0
        assert len(life.used()) > 3
        assert {each.action["name"]: each.charged for each in ledger.committed} == life.used()
        assert not ledger.active
        assert not [path for path in life.journal.rglob("*") if path.is_file()]

    async def test_a_journal_with_garbage_in_it_is_settled_and_the_garbage_put_aside(
        self, desk: Desk, tmp_path: Path
    ) -> None:
        life = Life(desk.connection, str(tmp_path), "ALLOW_IF_AVAILABLE")
        desk.proxy.script = lambda passage: Trouble(Kind.ERROR_500) if passage.operation == "commit" else None
        async with desk.hooks(journal_enabled=True, journal_dir=str(life.journal), retry_flush_timeout=0.2) as hooks:
            await desk.run(hooks).play(hooks)
        left = dict(records(life.journal))
        throw_in(life.journal)
        desk.proxy.calm_down()
        program = start(life, live_after)
        program.join()
        charged = {each.action["name"]: each.charged for each in desk.server.ledger().committed}
        assert program.exitcode == 0
        assert left.items() <= charged.items()
        assert {path.name: path.read_bytes() for path in life.journal.rglob("*.corrupt")} == {
            name.replace(".json", ".corrupt"): content for name, content in GARBAGE.items()
        }


def throw_in(journal: Path) -> None:
    """Leave garbage beside the records."""
    (identity,) = journal.iterdir()
    for name, content in GARBAGE.items():
        (identity / name).write_bytes(content)
