"""The live view: budgets as bars, spend by agent, and what is denied, while the customers are served."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cycles_otel.cli.demo.amounts import POINTS, USD, amount, dollars, points
from cycles_otel.cli.demo.progress import Budget, Progress

_STORIES = 5
_NEARLY_GONE = 0.75
_WIDE, _WIDEST = 98, 130


class LiveView:
    """Draws the progress over and over on a terminal."""

    interval = 0.2

    def __init__(self, console: Console) -> None:
        self._console = console
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
        # Two columns stay free for the ^C that a terminal echoes: it would begin a line, and shift the drawing.
        self._live.update(_drawn(progress, min(self._console.width - 2, _WIDEST)), refresh=True)


def _drawn(progress: Progress, width: int) -> RenderableType:
    """As high as a terminal of 24 lines allows."""
    panels = {
        "Budgets": _budgets(progress, width >= _WIDE),
        "Spend by agent": _agents(progress),
        "Last denials": _stories(progress),
    }
    return Group(
        _headline(progress),
        *(
            Panel(content, title=it, title_align="left", border_style="dim", width=width)
            for it, content in panels.items()
        ),
    )


def _headline(progress: Progress) -> RenderableType:
    return Text.assemble(
        (f" {progress.served}/{progress.customers} customers", "bold"),
        f", {progress.at_the_desk} now  ",
        (f"{progress.steps} steps, {progress.rate:.0f}/s  ", "cyan"),
        (f"{progress.denied} denied", "bold red" if progress.denied else "dim"),
        f"  {progress.heartbeats} heartbeats  {progress.seconds:.0f} s  ",
        (f"{progress.unenforced} unenforced" if progress.unenforced else "", "bold yellow"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _budgets(progress: Progress, wide: bool) -> Table:
    """A row for each scope: its dollars, its risk points, and how often its tenant was denied something."""
    table = _grid("left", "bar", "right", *["bar"] * wide, "right", "right")
    for scope in dict.fromkeys(budget.scope for budget in progress.budgets):
        by_unit = {budget.unit: budget for budget in progress.budgets if budget.scope == scope}
        denied = 0 if "/" in scope else progress.denials.get(scope.removeprefix("tenant:"), 0)
        risk_bar, risk = _gauge(by_unit.get(POINTS))
        row = [*_gauge(by_unit.get(USD)), *[risk_bar] * wide, risk]
        table.add_row(_short(scope), *row, Text(f"{denied} denied" if denied else "", style="red"))
    return table


def _gauge(budget: Budget | None) -> tuple[RenderableType, str]:
    """A bar of what is spent and what is held for steps under way, and the same in figures."""
    if budget is None:
        return "", ""
    style = "red" if budget.gone >= _NEARLY_GONE else "green"
    bar = ProgressBar(total=1.0, completed=budget.gone, complete_style=style, finished_style="red")
    return bar, f"{amount(budget.spent, budget.unit)} of {amount(budget.allocated, budget.unit)}"


def _short(scope: str) -> str:
    """The tenant, or below it the last level of a narrower scope."""
    name = scope.rsplit(":", 1)[1]
    return f"└ {name}" if "/" in scope else name


def _agents(progress: Progress) -> Table:
    table = _grid("left", "bar", "right", "right")
    most = max((microcents for microcents, _ in progress.spend.values()), default=0)
    for agent, (microcents, risk) in progress.spend.items():
        bar = ProgressBar(total=max(most, 1), completed=microcents, complete_style="cyan", finished_style="cyan")
        table.add_row(agent, bar, dollars(microcents), points(risk))
    return table


def _grid(*columns: str) -> Table:
    """A table without lines, of which the bars take the width that is left."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for column in columns:
        if column == "bar":
            table.add_column(ratio=1)
        else:
            table.add_column(justify="right" if column == "right" else "left", no_wrap=True)
    return table


def _stories(progress: Progress) -> RenderableType:
    told = progress.stories[-_STORIES:]
    text = "\n".join(told) or "none yet"
    return Text(text + "\n" * (_STORIES - max(len(told), 1)), "" if told else "dim", no_wrap=True, overflow="ellipsis")
