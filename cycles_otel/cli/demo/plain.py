"""Progress as lines, for a file, a pipe or the log of a CI job."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console

from cycles_otel.cli.demo.amounts import USD, dollars
from cycles_otel.cli.demo.progress import Progress


class PlainLines:
    """Prints a line now and then, and one for each denial when it is first seen."""

    interval = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] = set()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to take down."""

    def show(self, progress: Progress) -> None:
        """One line of figures, and one for each new denial."""
        for story in progress.stories:
            if story not in self._told:
                self._told.add(story)
                self._line(f"         DENIED  {story}")
        spent = "  ".join(
            f"{budget.scope.removeprefix('tenant:')} {dollars(budget.spent)}/{dollars(budget.allocated)}"
            for budget in progress.budgets
            if budget.unit == USD
        )
        self._line(
            f"{progress.seconds:5.1f} s  {progress.served:3d}/{progress.customers} customers  {progress.steps:4d} steps"
            f" ({progress.rate:3.0f}/s)  {sum(progress.denials.values())} denied  {progress.heartbeats} heartbeats"
            f"  {spent}"
        )

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)
