"""The figures as a page: `benchmarks/RESULTS.md`."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.comparison import DELAYS, Goal, Rounds
from benchmarks.figures import Spread, ratio
from benchmarks.scenario import STEPS
from benchmarks.variants import BARE

_PACKAGES = (
    *("openai-agents", "runcycles", "httpx", "httpcore", "h11", "opentelemetry-sdk", "prometheus_client"),
    *("genai-prices", "pydantic"),
)
Table = Iterable[Sequence[str]]


def machine() -> str:
    """Where and with what this was measured."""
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"{datetime.date.today():%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs{load}, "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def compared(said: Mapping[str, Rounds]) -> str:
    """Which versions took part."""
    return "Compared: " + ", ".join(sorted({rounds.version for rounds in said.values()})) + "."


def table(head: Sequence[str], rows: Table) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def goals(found: Iterable[Goal]) -> str:
    """What was aimed for."""
    return table(
        ("goal", "measured", "holds"), [(goal.what, goal.measured, "yes" if goal.holds else "**no**") for goal in found]
    )


def runs(said: Mapping[str, Rounds]) -> str:
    """One run at a time: latency and CPU that each variant adds to the bare SDK."""
    bare = said[BARE]
    rows = []
    for name, rounds in said.items():
        cells = [name]
        for delay in DELAYS:
            less = bare.latency[delay] if name != BARE else [0.0] * len(bare.latency[delay])
            added = Spread.of(one - none for one, none in zip(rounds.latency[delay], less, strict=True))
            cells.append(added.text(1000))
        cpu = (
            [one - none for one, none in zip(rounds.cpu[0], bare.cpu[0], strict=True)] if name != BARE else bare.cpu[0]
        )
        cells.append(Spread.of(value / STEPS for value in cpu).text(1000))
        cells.append(Spread.of(rounds.round_trips()).text(digits=1))
        rows.append(cells)
    head = ["", *(f"ms at {delay} ms" for delay in DELAYS), "CPU ms a step", "replies waited for"]
    return table(head, rows)


def throughput(said: Mapping[str, Rounds]) -> str:
    """Many runs at a time, at 5 ms."""
    at_once = sorted(said[BARE].rate)
    rows = [[name, *(Spread.of(rounds.rate[each]).text(digits=0) for each in at_once)] for name, rounds in said.items()]
    growth = [
        [name, *(ratio(rounds.cpu_beside[each], rounds.cpu_beside[1]).text() for each in at_once)]
        for name, rounds in said.items()
    ]
    return "\n\n".join(
        (
            table(["runs per s", *(f"{each} at once" for each in at_once)], rows),
            table(["CPU of a run over that of one alone", *(f"{each} at once" for each in at_once)], growth),
        )
    )


def alone(said: Mapping[str, Rounds]) -> str:
    """Instrumentations without a budget: what they add to a run."""
    if not said:
        return "None is installed here."
    bare = said[BARE]
    rows = [
        [name, ratio(rounds.latency[0], bare.latency[0]).text(), ratio(rounds.cpu[0], bare.cpu[0]).text()]
        for name, rounds in said.items()
        if name != BARE
    ]
    return table(["without any budget", "latency of a run, × bare", "CPU of a run, × bare"], rows)


def growth(figures: Mapping[str, Any]) -> str:
    """How cost and memory grow."""
    return table(("what", "measured"), [(what, str(value)) for what, value in figures.items()])


def hot_path(profile: Mapping[str, Any], floor: Mapping[str, float]) -> str:
    """The parts of a governed step, and the floor."""
    step = profile["cpu_of_step"] * 1e6
    rows = [(part, f"{share:.0%}", f"{share * step:.0f}") for part, share in profile["shares"].items()]
    least = [(part, f"{seconds * 1e6:.0f}") for part, seconds in floor.items()]
    return "\n\n".join(
        (
            f"A run takes {step:.0f} µs of CPU for each of its {STEPS} steps, its own work of the SDK included.",
            table(("part", "share", "µs"), rows),
            table(("the floor, in the same run", "µs of CPU"), least),
        )
    )
