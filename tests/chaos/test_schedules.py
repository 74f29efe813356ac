"""Whatever goes wrong on the wire, in whatever order: the money is right afterwards, and telemetry says the same."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.play import play
from tests.chaos.schedule import Schedule


async def test_the_ledger_and_telemetry_equal_what_really_ran(seeds: list[int], tmp_path: Path) -> None:
    reports = await play([Schedule.of(seed) for seed in seeds], tmp_path)
    failed = [report for report in reports if report.violations]
    if len(seeds) == 1:
        print(*reports, *reports[0].wire, sep="\n")
    assert not failed, "\n".join(str(report) for report in failed)
