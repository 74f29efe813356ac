"""``cycles-otel journal list``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cycles_otel.budget.pending import Pending, in_words, pending, unreadable

_RIGHT = ("age", "amount")
_HEADINGS = ("age", "kind", "amount", "tenant", "owner", "server", "reservation or step")
_WIDE = 240
"""Columns of what is no terminal: a line that is folded cannot be searched."""


def run_list(journal: Path, tenant: str | None, *, as_json: bool) -> int:
    """Show what waits, the oldest first, of all tenants or of one; 0 whether there is anything or not."""
    left = [each for each in pending(journal) if tenant in (None, each.tenant)]
    broken = unreadable(journal)
    if as_json:
        print(json.dumps([{**vars(each), "file": str(each.file)} for each in left], indent=2))
        return 0
    console = console_for_lines()
    if left:
        console.print(_table(left))
    console.print(summary(left, journal))
    show_unreadable(broken, console)
    return 0


def console_for_lines() -> Console:
    """A console that folds nothing where no person reads it."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=_WIDE)


def summary(left: Sequence[Pending], journal: Path) -> str:
    """How much waits, in one line."""
    if not left:
        return f"Nothing waits in {journal}."
    alive = sum(each.alive for each in left)
    theirs = f"; {alive} of them belong to live processes, which send them themselves" if alive else ""
    return f"{len(left)} waiting in {journal}{theirs}."


def show_unreadable(files: Sequence[Path], console: Console) -> None:
    """A line for each record that cannot be read."""
    for file in files:
        console.print(f"could not be read: {file}")


def amount_of(spend: Pending) -> str:
    """Its amount, for a person."""
    return f"{spend.amount:,} {spend.unit}" if spend.amount is not None else "?"


def _table(left: Sequence[Pending]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right" if heading in _RIGHT else "left", overflow="fold")
    for each in left:
        owner = "alive" if each.alive else "gone"
        table.add_row(in_words(each.age), each.kind, amount_of(each), each.tenant, owner, each.base_url, each.id)
    return table
