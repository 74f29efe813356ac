"""Plays schedules: for each a stage, hooks, a workload, and the accounts when all is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.accounts import Accounts
from tests.chaos.oracle import Oracle
from tests.chaos.proxy import Passage
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage, hooks_of
from tests.chaos.workload import Governed, mixed
from tests.telemetry.otlp import Receiver
from tests.telemetry.readings import of_otlp
from tests.telemetry.witness import Witness


@dataclass(frozen=True)
class Report:
    """What came of a schedule."""

    schedule: Schedule
    violations: list[str]
    wire: list[Passage]

    def __str__(self) -> str:
        found = "\n".join(f"  - {each}" for each in self.violations) or "  holds"
        return f"{self.schedule}\n{found}\n  repeat it with: make chaos SEED={self.schedule.seed}"


async def play(schedules: Iterable[Schedule], folder: Path) -> list[Report]:
    """Play schedules side by side, each with a database and a journal of its own.

    The accounts are made when all hooks are closed: only then the thread that they share has ended.
    """
    with contextlib.ExitStack() as stages:
        plays = [stages.enter_context(_Play(schedule, folder / str(schedule.seed))) for schedule in schedules]
        await asyncio.gather(*(each.run() for each in plays))
        return [each.report() for each in plays]


def runs_of(schedule: Schedule, oracle: Oracle, risks: dict[str, int]) -> list[Governed]:
    """The runs of a schedule, always the same."""
    return mixed(random.Random(f"workload {schedule.seed}"), oracle, risks)


class _Play:
    """One schedule: while it is entered, its stage is there."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self._schedule = schedule
        self._stage = Stage(schedule, folder)
        self._otlp = Receiver()
        self._witness = Witness(otlp=self._otlp.url, max_values=10**6, max_series=10**6)
        self._oracle = Oracle()
        self._risks: dict[str, int] = {}

    def __enter__(self) -> _Play:
        self._stage.__enter__()
        self._otlp.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.__exit__()
        self._witness.close()
        self._otlp.__exit__()

    async def run(self) -> None:
        """The workload, from the first request to the last settlement; the trouble ends with the last run."""
        runs = runs_of(self._schedule, self._oracle, self._risks)
        recorder = self._witness.recorder
        async with hooks_of(self._schedule, self._stage.connection, self._risks, recorder) as hooks:
            await asyncio.gather(*(run.play(hooks) for run in runs))
            self._stage.calm_down()

    def report(self) -> Report:
        """The accounts, when every lease and its grace are over."""
        self._witness.meters.force_flush()
        accounts = Accounts.of_witness(
            self._oracle,
            self._stage.end(),
            self._stage.wire,
            self._witness,
            self._risks,
            ample=self._schedule.ample,
            estimate=self._schedule.cut_off_at,
            metrics={"OTLP": of_otlp(self._otlp.metric_requests[-1])},
        )
        violations = accounts.violations()
        left = self._stage.left_in_journal()
        violations += [f"the journal still holds {left}"] if left else []
        return Report(self._schedule, violations, self._stage.wire)
