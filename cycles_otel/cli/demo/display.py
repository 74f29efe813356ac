"""What shows the progress: a live view in a terminal, lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console

from cycles_otel.cli.demo.amounts import USD
from cycles_otel.cli.demo.live import LiveView
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
            await asyncio.wait([working])
            display.show(watch.look())
        await working


class PlainLines:
    """A line now and then, and one for each denial: for a file, a pipe or the log of a CI job."""

    interval = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to take down."""

    def show(self, progress: Progress) -> None:
        """One line for each new denial, and one of figures."""
        for story in progress.stories[self._told :]:
            self._line(f"         DENIED  {story}")
        self._told = len(progress.stories)
        gone = "  ".join(f"{each.tenant} {each.gone:.0%}" for each in progress.budgets if each.unit == USD)
        self._line(
            f"{progress.seconds:5.1f} s  {progress.served:3d}/{progress.customers} customers  {progress.steps:4d} steps"
            f" ({progress.rate:.0f}/s)  {progress.denied} denied  {progress.heartbeats} heartbeats  {gone}".rstrip()
        )

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)
