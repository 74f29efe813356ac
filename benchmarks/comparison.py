"""Variants side by side: each round lets all of them run, one after the other."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Spread, ratio
from benchmarks.processes import Process, stub, worker
from benchmarks.scenario import STEPS
from benchmarks.variants import ALL_ON, ALONE, AT_ONCE, BARE, OURS, PEER, VARIANTS

DELAYS = (0, 5, 20)


@dataclass
class Rounds:
    """What the rounds said of one variant: s of latency and of CPU for one run by delay, runs per s by concurrency.

    Parameters
    ----------
    alarms: how much was logged meanwhile as a warning or worse; with any, what was timed may have run ungoverned.
    """

    latency: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)
    rate: dict[int, list[float]] = field(default_factory=dict)
    cpu_beside: dict[int, list[float]] = field(default_factory=dict)
    alarms: int = 0
    version: str = ""

    def round_trips(self) -> list[float]:
        """How many replies a run waits for: what it gets slower where each reply takes 20 ms."""
        longest = DELAYS[-1]
        return [
            (slow - fast) * 1000 / longest for slow, fast in zip(self.latency[longest], self.latency[0], strict=True)
        ]


@contextlib.contextmanager
def workers(names: Sequence[str]) -> Iterator[dict[str, Process]]:
    """A worker for each, all alive at once."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(worker(name)) for name in names}


def compare(names: Sequence[str], *, rounds: int, runs: int, concurrent: Sequence[int]) -> dict[str, Rounds]:
    """Each variant alone at each delay, and many runs at once at 5 ms."""
    with contextlib.ExitStack() as stack:
        urls = {delay: stack.enter_context(stub(delay)) for delay in DELAYS}
        at_work = stack.enter_context(workers(names))
        said = {name: Rounds() for name in names}
        for name, process in at_work.items():
            package = {**VARIANTS, **ALONE}[name].package
            said[name].version = f"{package} {process.ask('version', package=package)['version']}"
            for url in urls.values():
                process.ask("runs", url=url, runs=max(runs // 3, 2), concurrency=1)
        for _ in range(rounds):
            for delay, url in urls.items():
                for name, process in at_work.items():
                    figures = process.ask("runs", url=url, runs=runs, concurrency=1)
                    said[name].latency.setdefault(delay, []).append(statistics.median(figures["latencies"]))
                    said[name].cpu.setdefault(delay, []).append(figures["cpu"])
                    said[name].alarms += figures["alarms"]
            for at_once in concurrent:
                for name, process in at_work.items():
                    figures = process.ask("runs", url=urls[5], runs=_sustained(runs, at_once), concurrency=at_once)
                    said[name].rate.setdefault(at_once, []).append(figures["rate"])
                    said[name].cpu_beside.setdefault(at_once, []).append(figures["cpu"])
                    said[name].alarms += figures["alarms"]
    return said


def _sustained(runs: int, at_once: int) -> int:
    """How many runs tell what so many at once get done for longer than a burst: the same number for each of them."""
    return runs if at_once == 1 else at_once * math.ceil(6 * runs / at_once)


@dataclass(frozen=True)
class Goal:
    """What was aimed for, what was measured, and whether that is enough."""

    what: str
    measured: str
    holds: bool


def goals(said: dict[str, Rounds]) -> list[Goal]:
    """The goals, of what the rounds said."""
    bare, peer = said[BARE], said[PEER]
    found = []
    for name in (AT_ONCE, OURS):
        trips = Spread.of(said[name].round_trips())
        what = f"{name}: replies that a run of {STEPS} steps waits for, by its latency, rounded: {STEPS}"
        found.append(Goal(what, trips.text(), trips.median < STEPS + 0.5))
        for delay in DELAYS[1:]:
            added = ratio(said[name].latency[delay], peer.latency[delay], bare.latency[delay])
            what = f"{name}: latency added to a run at {delay} ms ≤ 0.55 × the peer's"
            found.append(Goal(what, added.text(), added.median <= 0.55))
    cpu = ratio(said[ALL_ON].cpu[0], peer.cpu[0], bare.cpu[0])
    what = "no wait: CPU added to a step with all telemetry on ≤ the peer's with none"
    found.append(Goal(what, cpu.text(), cpu.median <= 1))
    for at_once in sorted(peer.rate):
        rate = ratio(said[AT_ONCE].rate[at_once], peer.rate[at_once])
        what = f"no wait: throughput of {at_once} runs at once at 5 ms ≥ 1.5 × the peer's"
        found.append(Goal(what, rate.text(), rate.median >= 1.5))
    for name in (AT_ONCE, OURS, PEER):
        found.append(
            Goal(
                f"{name}: alarms in its log, of steps that were not governed: 0",
                str(said[name].alarms),
                not said[name].alarms,
            )
        )
    return found
