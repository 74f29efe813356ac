"""`make bench`: all comparisons in one go, written to `benchmarks/RESULTS.md`; some ten minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import imports, report
from benchmarks.comparison import Goal, Rounds, compare, goals, workers
from benchmarks.figures import Spread, ratio
from benchmarks.processes import ENVIRONMENTS, is_there, stub
from benchmarks.variants import ALONE, BARE, OURS, VARIANTS

LONGEST_IMPORT = 1.15


@dataclass(frozen=True)
class Extent:
    """How much is measured: rounds of so many runs each, runs at once, and how far growth is followed."""

    rounds: int
    runs: int
    concurrent: tuple[int, ...]
    length: int
    held: int
    labels: int
    steps: int
    starts: int


EXTENTS = {
    "quick": Extent(rounds=1, runs=4, concurrent=(1, 4), length=20, held=100, labels=20, steps=30, starts=1),
    "full": Extent(3, 20, (1, 16, 64, 256), length=1_000, held=10_000, labels=300, steps=6_000, starts=12),
    "long": Extent(5, 20, (1, 16, 64, 256), length=1_000, held=10_000, labels=300, steps=100_000, starts=12),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the status is 0 whether goals hold or not, since machines differ."""
    given = _parser().parse_args(arguments)
    extent = EXTENTS[given.extent]
    missing = [name for name in (*VARIANTS, *ALONE) if not is_there(name)]
    if missing:
        print(f"left out, since {ENVIRONMENTS} has no environment for them: {', '.join(missing)}", file=sys.stderr)
    page = measured(extent, missing)
    print(page)
    # A quick look says nothing that is worth to be kept.
    if given.write is not None and given.extent != "quick":
        Path(given.write).write_text(page, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--extent", choices=EXTENTS, default="full", help="how much is measured; long: 100,000 steps")
    parser.add_argument("--write", metavar="FILE", help="the page to write (make bench: benchmarks/RESULTS.md)")
    return parser


def measured(extent: Extent, missing: Sequence[str] = ()) -> str:
    """Everything, as a page."""
    variants = [name for name in VARIANTS if name not in missing]
    tell("runs")
    said = compare(variants, rounds=extent.rounds, runs=extent.runs, concurrent=extent.concurrent)
    tell("instrumentations without a budget")
    instrumentations = [name for name in ALONE if name not in missing]
    beside = (
        compare([BARE, *instrumentations], rounds=extent.rounds, runs=extent.runs, concurrent=())
        if instrumentations
        else {}
    )
    tell("imports")
    started = imports.seconds(extent.starts)
    with stub(0) as url, workers([OURS]) as at_work:
        process = at_work[OURS]
        tell("growth")
        length = process.ask("length", url=url, steps=extent.length)
        held = process.ask("open", url=url, count=extent.held)
        labels = process.ask("labels", url=url, values=extent.labels)
        tell(f"{extent.steps:,} steps")
        memory = process.ask("memory", url=url, steps=extent.steps)
        tell("profile")
        floor = process.ask("floor", url=url, rounds=extent.runs * 10)
        profile = process.ask("profile", url=url, runs=extent.runs * 2)
    found = [*(goals(said) if not missing else []), _import_goal(started)]
    grown = {
        f"CPU of a step in a run of {extent.length:,} steps, × that in one of 21": f"{length['ratio']:.2f}",
        f"CPU of a step beside {extent.held:,} open reservations, × that alone": f"{held['ratio']:.2f}",
        f"CPU of runs under {extent.labels} agents' names, × that under one": f"{labels['ratio']:.2f}",
        "memory of an open reservation, telemetry on": f"{held['bytes']:,.0f} bytes",
        "memory of a run": f"{memory['bytes_of_run']:,.0f} bytes",
        f"objects after {extent.steps:,} steps, × those before": f"{memory['objects']:.3f}",
        f"resident memory after {extent.steps:,} steps, × that before": f"{memory['resident']:.3f}",
    }
    return _page(extent, said, beside, started, grown, report.hot_path(profile, floor), found)


def _import_goal(started: dict[str, list[float]]) -> Goal:
    longer = ratio(started["and CyclesRunHooks"], started["agents"])
    return Goal(
        f"start with the hooks ≤ {LONGEST_IMPORT} × that with the SDK", longer.text(), longer.median <= LONGEST_IMPORT
    )


def _page(
    extent: Extent,
    said: dict[str, Rounds],
    beside: dict[str, Rounds],
    started: dict[str, list[float]],
    grown: dict[str, Any],
    hot_path: str,
    found: Sequence[Goal],
) -> str:
    starts = [(name, Spread.of(seconds).text()) for name, seconds in started.items()]
    return (
        "\n\n".join(
            (
                "# Results\n\nWritten by `make bench`; how to read it: [README.md](README.md).",
                f"{report.machine()} {report.compared({**said, **beside})} {extent}",
                "## Goals",
                report.goals(found),
                "## One run at a time\n\nWhat is added to a run of the bare SDK, whose own time comes first.",
                report.runs(said),
                "## Many runs at a time\n\nReplies come after 5 ms.",
                report.throughput(said),
                "## Instrumentations without a budget",
                report.alone(beside),
                "## Growth",
                report.growth(grown),
                "## Start of a program",
                report.table(("imports", "s"), starts),
                "## The hot path\n\nAll telemetry on, by the profiles of both threads.",
                hot_path,
            )
        )
        + "\n"
    )


def tell(what: str) -> None:
    """What is being measured, for whoever waits."""
    print(f"measuring: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
