"""A program that works under budgets and is killed at a chosen moment, as the kernel kills: no handler runs.

It is a child of a fork server that has everything imported, so that hundreds of them cost little.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import agents
from runcycles import CyclesConfig

from cycles_otel import CyclesRunHooks
from cycles_otel.telemetry import Recorder
from tests.chaos.oracle import Oracle
from tests.chaos.workload import Casting, Governed, an_agent_as_a_tool, an_answer, awaited
from tests.run.desk import until

ESTIMATE = 2_000
POINTS = 3
ROOM = 400
"""Bytes: more than the notes take, less than one record of the journal."""
_CHANGES = ("open", "os.rename", "os.remove")


@dataclass(frozen=True)
class Life:
    """What a program is told: how to reach the server, and before which change of its journal it dies.

    Parameters
    ----------
    dies_before: counted from 1; None for a life to its end.
    """

    connection: dict[str, Any]
    folder: str
    overage_policy: str
    dies_before: int | None = None

    @property
    def journal(self) -> Path:
        return Path(self.folder) / "journal"

    @property
    def notes(self) -> Path:
        """Where the models and tools note what they used."""
        return Path(self.folder) / "used"

    def used(self) -> dict[str, int]:
        """What was used, by the step's name, as far as the program lived."""
        if not self.notes.exists():
            return {}
        return dict(json.loads(line) for line in self.notes.read_text().splitlines())

    def hooks(self) -> CyclesRunHooks:
        """Hooks as the program makes them, and the program that is started after it."""
        config = CyclesConfig(**self.connection, journal_dir=str(self.journal), retry_initial_delay=0.05)
        return CyclesRunHooks(
            config=config,
            llm_unit="TOKENS",
            llm_estimate=ESTIMATE,
            default_tool_risk=POINTS,
            overage_policy=self.overage_policy,
            recorder=Recorder(metrics="none"),
        )


class _Notes(Oracle):
    """Notes that survive a kill."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def answered(self, step: str, tokens: int) -> None:
        os.write(self._file, json.dumps([step, tokens]).encode() + b"\n")

    def ran(self, step: str, points: int) -> None:
        self.answered(step, points)


def fork_server() -> ForkServerContext:
    """Where the programs come from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start(life: Life, program: Callable[[Life], None]) -> ForkServerProcess:
    """Start a program; it dies with the caller."""
    process = fork_server().Process(target=program, args=(life,), daemon=True)
    process.start()
    return process


def live(life: Life) -> None:
    """The program: one run with a tool and an agent as a tool."""
    agents.set_trace_processors([])
    if life.dies_before is not None:
        sys.addaudithook(_Death(life.journal, life.dies_before))
    asyncio.run(_work(life))


def live_on_a_full_disk(life: Life) -> None:
    """The program where no file can grow beyond what its notes need: a record of the journal ends half way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
    live(life)


def live_after(life: Life) -> None:
    """The program that is started next: it ends when the journal is empty."""
    agents.set_trace_processors([])
    asyncio.run(_work_after(life))


async def _work_after(life: Life) -> None:
    cast = Casting("next", random.Random("next"), Oracle(), {})
    async with life.hooks() as hooks:
        await Governed(cast, an_answer(cast), awaited, tracing=False).play(hooks)
        await until(lambda: not list(life.journal.rglob("*.json")), seconds=20.0)


async def _work(life: Life) -> None:
    cast = Casting("program", random.Random("program"), _Notes(life.notes), {}, points=(POINTS,))
    async with life.hooks() as hooks:
        await Governed(cast, an_agent_as_a_tool(cast), awaited, tracing=False).play(hooks)


class _Death:
    """Kills the process just before its n-th change of a folder."""

    def __init__(self, folder: Path, before: int) -> None:
        self._folder = str(folder)
        self._left = before

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES and str(arguments[0]).startswith(self._folder):
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def records(journal: Path) -> Iterator[tuple[str, int]]:
    """What a journal holds: the step's name and its amount."""
    for path in journal.rglob("*.json"):
        record = json.loads(path.read_text())
        body = record["event_fallback_body"]
        yield body["action"]["name"], body["actual"]["amount"]
