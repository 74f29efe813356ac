"""``cycles-otel journal list``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cycles_otel.budget.pending import Pending, pending, unreadable


def run_list(journal: Path, *, as_json: bool) -> int:
    """Show what waits, the oldest first; 0 whether there is anything or not."""
    left = list(pending(journal))
    if as_json:
        print(json.dumps([_as_mapping(each) for each in left], indent=2))
        return 0
    console = Console(highlight=False)
    if left:
        console.print(_table(left))
    console.print(summary(left, journal), soft_wrap=True)
    for file in unreadable(journal):
        console.print(f"could not be read: {file}", soft_wrap=True)
    return 0


def summary(left: Sequence[Pending], journal: Path) -> str:
    """How much waits, in one line."""
    if not left:
        return f"Nothing waits in {journal}."
    alive = sum(each.alive for each in left)
    return f"{len(left)} waiting in {journal}; {alive} of them belong to live processes, which send them themselves."


def _table(left: Sequence[Pending]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("age", "kind", "amount", "tenant", "owner", "server", "reservation or step"):
        table.add_column(heading, justify="right" if heading in ("age", "amount") else "left", overflow="fold")
    for each in left:
        amount = f"{each.amount:,} {each.unit}" if each.amount is not None else "?"
        owner = "alive" if each.alive else "gone"
        table.add_row(f"{each.age:.0f} s", each.kind, amount, each.tenant, owner, each.base_url, each.id)
    return table


def _as_mapping(each: Pending) -> dict[str, object]:
    return {**vars(each), "file": str(each.file)}
