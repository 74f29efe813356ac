"""``cycles-otel journal replay``: sends what processes that are gone left, as the next start of the program would."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from runcycles import CyclesConfig

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.journal import Journal, journal_folder
from cycles_otel.budget.observer import SILENT
from cycles_otel.budget.pending import Pending, pending, unreadable
from cycles_otel.budget.policy import Policy
from cycles_otel.cli.journal.listing import amount_of, console_for_lines, show_unreadable, summary
from cycles_otel.cli.journal.replies import Replies
from cycles_otel.quiet import quiet

_LOOK = 0.1
_SHOWN = 20


def run_replay(config: CyclesConfig, *, timeout: float, dry_run: bool) -> int:
    """Send what belongs to nobody for this server and tenant; 1 where some of that is left after ``timeout`` s."""
    # What waits was noted before the journal was switched off, if it is.
    config = replace(config, journal_enabled=True)
    console, folder = console_for_lines(), journal_folder(config)
    directory = Journal(config, lambda _: None).directory
    assert directory is not None
    waiting, broken = pending(folder), unreadable(folder)
    here = [each for each in waiting if each.file.parent == directory and each.base_url == config.base_url]
    ours = [each for each in here if not each.alive]
    console.print(summary(here, directory))
    _tell_of_others([each for each in waiting if each not in here], console)
    show_unreadable([file for file in broken if file.parent == directory], console)
    if dry_run or not ours:
        console.print(f"{len(ours)} would be sent." if dry_run else "Nothing to send.")
        return 0
    replies = Replies(config.api_key)
    with quiet("runcycles"):
        left = asyncio.run(_replay(config, ours, timeout, replies, console))
    console.print(f"{len(ours) - len(left)} sent, {len(left)} left.")
    _tell_why(left, replies, console)
    return 1 if left else 0


async def _replay(
    config: CyclesConfig, ours: Sequence[Pending], timeout: float, replies: Replies, console: Console
) -> list[Pending]:
    """What is left, when the server has taken or refused all of it, or the time is over."""
    deadline = time.monotonic() + timeout
    # What is not answered by then stays where it is: the end waits for it no longer.
    governor = Governor(replace(config, retry_flush_timeout=0), Policy(), SILENT, replies.watch)
    try:
        with console.status("") as status:
            while governor.settlement.pending() and time.monotonic() < deadline:
                status.update(f"{len(ours) - len(_left(ours))} of {len(ours)} sent")
                await asyncio.sleep(_LOOK)
    finally:
        await governor.aclose()
    return _left(ours)


def _left(ours: Sequence[Pending]) -> list[Pending]:
    return [each for each in ours if each.file.exists()]


def _tell_of_others(others: Sequence[Pending], console: Console) -> None:
    """What this command could send if ``CYCLES_*`` said so."""
    for (tenant, base_url), count in Counter((each.tenant, each.base_url) for each in others).items():
        console.print(f"{count} more for tenant {tenant or '?'} at {base_url}: they need CYCLES_* as set there.")


def _tell_why(left: Sequence[Pending], replies: Replies, console: Console) -> None:
    for each in left[:_SHOWN]:
        console.print(f"  {each.id} ({amount_of(each)}): {replies.refusal_of(each.key)}")
    if len(left) > _SHOWN:
        console.print(f"  and {len(left) - _SHOWN} more")
