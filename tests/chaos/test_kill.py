"""kill -9 between any two steps: what was journaled is settled once by the next start, and nothing is held for long.

The moments are enumerated: before each change of the journal (a record is begun, published, removed), and around each
request (it arrives and the server never sees it, the server has applied it, it is answered). Counters die with their
process: only the ledger is asserted, once lease and grace are over.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from cycles_otel.local import LocalCycles
from tests.chaos.clock import SteppedClock
from tests.chaos.killed import Life, live, records, start
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import ChaosProxy, Passage
from tests.chaos.troubles import Kind, Trouble
from tests.chaos.workload import Casting, Governed, an_answer, awaited
from tests.run.desk import until

BUDGETS = {"tenant:acme": {"TOKENS": 10**9, "RISK_POINTS": 10**9}}
LEASE_AND_GRACE_MS = 66_000
MOMENTS = ("arrived", "applied", "answered")


@pytest.mark.parametrize("policy", ["ALLOW_IF_AVAILABLE", "REJECT"])
async def test_a_kill_before_any_change_of_the_journal_loses_and_repeats_no_charge(policy: str, tmp_path: Path) -> None:
    for point in itertools.count(1):
        play = _Play(policy, tmp_path / str(point))
        if not await play.with_death(dies_before=point):
            break
    assert point > 10


@pytest.mark.parametrize(
    ("moment", "policy"), [*((moment, "ALLOW_IF_AVAILABLE") for moment in MOMENTS), ("applied", "REJECT")]
)
async def test_a_kill_around_any_request_loses_and_repeats_no_charge(policy: str, moment: str, tmp_path: Path) -> None:
    for point in itertools.count(1):
        play = _Play(policy, tmp_path / str(point))
        if not await play.with_death(request=(moment, point)):
            break
    assert point > 10


class _Play:
    """One program that is killed, and the one that is started after it.

    Parameters
    ----------
    policy: the overage policy; with REJECT a commit of more than the estimate becomes an event.
    """

    def __init__(self, policy: str, folder: Path) -> None:
        folder.mkdir()
        self._clock = SteppedClock()
        self._server = LocalCycles(BUDGETS, db=folder / "ledger.db", clock=self._clock)
        self._folder = folder
        self._policy = policy

    async def with_death(self, *, dies_before: int | None = None, request: tuple[str, int] = ("", 0)) -> bool:
        """Check what the kill leaves behind and the next start makes of it; False if the program ended before it."""
        killer = _Killer(*request)
        with self._server as server, ChaosProxy(lambda: server.url, killer.script, watch=killer.watch) as proxy:
            life = self._life(proxy, dies_before)
            program = start(life, live)
            killer.victim = program.pid
            program.join()
            proxy.calm_down()
            known = dict(records(life.journal)) | self._charged()
            await self._start_again(life)
            self._check(life, known)
        return program.exitcode == -signal.SIGKILL

    def _life(self, proxy: ChaosProxy, dies_before: int | None) -> Life:
        connection = {"base_url": proxy.url, "api_key": self._server.api_key, "tenant": self._server.tenant}
        return Life(connection, str(self._folder), self._policy, dies_before)

    async def _start_again(self, life: Life) -> None:
        """A new program on the same journal, with one small run of its own."""
        cast = Casting("next", random.Random("next"), Oracle(), {})
        async with life.hooks() as hooks:
            await Governed(cast, an_answer(cast), awaited, tracing=False).play(hooks)
            await until(lambda: not list(records(life.journal)), seconds=10.0)
        self._clock.step(LEASE_AND_GRACE_MS)
        self._server.sweep()

    def _check(self, life: Life, known: dict[str, int]) -> None:
        """Each step that was journaled, or charged already, is charged once for what it used; no other is."""
        ledger, used, charged = self._server.ledger(), life.used(), self._charged()
        times = Counter(
            [each.action["name"] for each in ledger.committed] + [each.action["name"] for each in ledger.events]
        )
        charged = {name: amount for name, amount in charged.items() if not name.startswith("next")}
        assert charged == {name: used[name] for name in known}
        assert set(times.values()) <= {1}
        assert not ledger.active
        for unit in ("TOKENS", "RISK_POINTS"):
            budget = ledger.budget("tenant:acme", unit)
            assert (budget.spent + budget.debt, budget.reserved) == (ledger.charged(unit), 0)

    def _charged(self) -> dict[str, int]:
        ledger = self._server.ledger()
        committed = {each.action["name"]: each.charged or 0 for each in ledger.committed}
        return committed | {each.action["name"]: each.charged for each in ledger.events}


class _Killer:
    """Kills a program at a moment of its n-th request: one that ``arrived`` then never reaches the server."""

    def __init__(self, moment: str, number: int) -> None:
        self.victim: int | None = None
        self._moment = moment
        self._number = number

    def script(self, passage: Passage) -> Trouble | None:
        unseen = self._moment == "arrived" and passage.number == self._number
        return Trouble(Kind.RESET_BEFORE) if unseen else None

    def watch(self, moment: str, passage: Passage) -> None:
        if (moment, passage.number) == (self._moment, self._number) and self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)
