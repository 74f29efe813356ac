"""A schedule whose runs are played by programs of their own, one or several side by side."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cycles_otel.local import LedgerSnapshot
from tests.chaos.accounts import Accounts
from tests.chaos.oracle import Oracle, Used
from tests.chaos.program import Done, Part
from tests.chaos.schedule import Schedule
from tests.chaos.stage import Stage
from tests.telemetry.readings import Readings
from tests.telemetry.told import ToldSpan

ROOT = Path(__file__).parents[2]


class Program:
    """One program, from its start until it is told to stop; it ends with the process that started it."""

    def __init__(self, part: Part, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        command = [sys.executable, "-m", "tests.chaos.program", json.dumps(asdict(part))]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> Any:
        """What the program says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the program ended:\n{self._log.read_text()}"
        return json.loads(line)

    def go_on(self) -> None:
        """Let it settle what it has played."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End its input, and wait until it has ended."""
        with self._process:
            pass


class Played:
    """What is known when the programs are done: they still live, and their pages can be read."""

    def __init__(
        self, schedule: Schedule, stage: Stage, ledger: LedgerSnapshot, programs: list[Program], done: list[Done]
    ) -> None:
        self._schedule = schedule
        self._stage = stage
        self.ledger = ledger
        self._programs = programs
        self.done = done

    def stop(self) -> list[int]:
        """Stop the programs, and return what their process ids were."""
        for program in self._programs:
            program.stop()
        return [program.pid for program in self._programs]

    @property
    def spans(self) -> int:
        """How many spans were started."""
        return sum(done.spans for done in self.done)

    def accounts(self, spans: Sequence[ToldSpan], metrics: Mapping[str, Readings]) -> Accounts:
        """The accounts of all programs together."""
        oracle = Oracle()
        oracle.used = {step: Used(*used) for done in self.done for step, used in done.used.items()}
        return Accounts(
            oracle,
            self.ledger,
            self._stage.wire,
            spans,
            metrics,
            self.done[0].risks,
            ample=self._schedule.ample,
            estimate=self._schedule.cut_off_at,
            unended=[name for done in self.done for name in done.unended],
        )


@contextlib.contextmanager
def played(
    schedule: Schedule, folder: Path, *, programs: int = 1, environment: Mapping[str, str], **part: Any
) -> Iterator[Played]:
    """Play a schedule in so many programs that have this environment; ``part`` is what ``Part`` has besides."""
    with contextlib.ExitStack() as started:
        stage = started.enter_context(Stage(schedule, folder / "stage"))
        parts = [Part(schedule.seed, stage.connection, number, programs, **part) for number in range(programs)]
        running = [Program(each, environment, folder / f"program{each.number}.log") for each in parts]
        for program in running:
            started.callback(program.stop)
        assert [program.hear() for program in running] == ["played"] * programs
        stage.calm_down()
        for program in running:
            program.go_on()
        done = [Done(**program.hear()) for program in running]
        yield Played(schedule, stage, stage.end(), running, done)
