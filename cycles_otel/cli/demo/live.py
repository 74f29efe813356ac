"""The live view: budgets as bars, spend by agent, and what is denied, while the customers are served."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cycles_otel.cli.demo.amounts import amount, dollars, points
from cycles_otel.cli.demo.progress import Budget, Progress

_BAR = 30
_NEARLY_GONE = 0.8


class LiveView:
    """Draws the progress over and over on a terminal."""

    interval = 0.2

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw it as it is now."""
        self._live.update(_drawn(progress), refresh=True)


def _drawn(progress: Progress) -> RenderableType:
    return Group(
        _headline(progress),
        Panel(_budgets(progress), title="Budgets", title_align="left", border_style="dim"),
        Panel(_agents(progress), title="Spend by agent", title_align="left", border_style="dim"),
        Panel(_stories(progress), title="Last denials", title_align="left", border_style="dim"),
    )


def _headline(progress: Progress) -> RenderableType:
    denied = sum(progress.denials.values())
    return Text.assemble(
        (f" {progress.served}/{progress.customers} customers", "bold"),
        f"   {progress.steps} steps, {progress.rate:.0f}/s   ",
        (f"{denied} denied", "bold red" if denied else "dim"),
        f"   {progress.heartbeats} heartbeats   {progress.unenforced} unenforced   {progress.seconds:.1f} s",
    )


def _budgets(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    for budget in progress.budgets:
        denied = progress.denials.get(budget.scope.removeprefix("tenant:"), 0)
        table.add_row(
            budget.scope.removeprefix("tenant:"),
            _bar(budget),
            Text(f"{amount(budget.spent, budget.unit)} of {amount(budget.allocated, budget.unit)}", justify="right"),
            Text(f"{denied} denied" if denied else "", style="red"),
        )
    return table


def _bar(budget: Budget) -> ProgressBar:
    """What is spent, and what is held for steps that are under way."""
    gone = (budget.spent + budget.held) / max(budget.allocated, 1)
    style = "red" if gone >= _NEARLY_GONE else "green"
    return ProgressBar(total=1.0, completed=gone, width=_BAR, complete_style=style, finished_style="red")


def _agents(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    for agent, (microcents, risk) in progress.spend.items():
        table.add_row(agent, Text(dollars(microcents), justify="right"), Text(points(risk), justify="right"))
    return table


def _stories(progress: Progress) -> Text:
    return Text("\n".join(progress.stories) or "none yet", style="" if progress.stories else "dim", overflow="ellipsis")
