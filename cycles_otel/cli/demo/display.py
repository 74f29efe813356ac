"""What shows the progress: a live view in a terminal, lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rich.console import Console

from cycles_otel.cli.demo.live import LiveView
from cycles_otel.cli.demo.plain import PlainLines
from cycles_otel.cli.demo.progress import Progress, Watch


class Display(AbstractContextManager[Any], Protocol):
    """Shows the progress for as long as its block runs.

    Parameters
    ----------
    interval: how often it wants to be told, in s.
    """

    interval: float

    def show(self, progress: Progress) -> None:
        """Show how far it is."""


def display_on(console: Console) -> Display:
    """The display that suits the output."""
    return LiveView(console) if console.is_terminal else PlainLines(console)


async def shown(work: Coroutine[Any, Any, None], watch: Watch, display: Display) -> None:
    """Do the work, and show how far it is until it is over."""
    with display:
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                display.show(watch.look())
                await asyncio.wait([working], timeout=display.interval)
        finally:
            working.cancel()
            display.show(watch.look())
        await working
