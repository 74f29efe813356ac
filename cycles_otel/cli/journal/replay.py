"""``cycles-otel journal replay``: sends what processes that are gone left, as the next start of the program would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from runcycles import CyclesConfig

from cycles_otel.assembly import observed_governor
from cycles_otel.budget.journal import Journal
from cycles_otel.budget.pending import Pending, pending
from cycles_otel.budget.policy import Policy
from cycles_otel.cli.journal.listing import summary

_LOOK = 0.1


def run_replay(config: CyclesConfig, folder: Path, *, timeout: float, dry_run: bool) -> int:
    """Send what belongs to nobody for this server and tenant; 1 where some of that is left after ``timeout`` s."""
    console = Console(highlight=False)
    directory = Journal(config, lambda _: None).directory
    if directory is None:
        console.print("The journal is switched off by CYCLES_JOURNAL_ENABLED.")
        return 0
    here = [each for each in pending(folder) if each.file.parent == directory]
    ours = [each for each in here if not each.alive and each.base_url == config.base_url]
    console.print(summary(here, directory), soft_wrap=True)
    elsewhere = len(list(pending(folder))) - len(here)
    if elsewhere:
        console.print(f"{elsewhere} more are for other servers or tenants: set CYCLES_* as those have them.")
    if dry_run or not ours:
        console.print(f"{len(ours)} would be sent." if dry_run else "Nothing to send.")
        return 0
    left = asyncio.run(_replay(config, ours, timeout, console))
    console.print(f"{len(ours) - left} sent, {left} left." + (" The server did not take them in time." if left else ""))
    return 1 if left else 0


async def _replay(config: CyclesConfig, ours: Sequence[Pending], timeout: float, console: Console) -> int:
    """How many are left, of those that no live process has."""
    deadline = time.monotonic() + timeout
    # What is not answered by then stays where it is: the end waits for it no longer.
    governor = observed_governor(replace(config, retry_flush_timeout=0), Policy(), None, tenant=config.tenant)
    try:
        with console.status("") as status:
            while (left := sum(each.file.exists() for each in ours)) and time.monotonic() < deadline:
                status.update(f"{len(ours) - left} of {len(ours)} sent")
                await asyncio.sleep(_LOOK)
    finally:
        await governor.aclose()
    return sum(each.file.exists() for each in ours)
