"""Writes dashboards and rules: ``python -m dashboards.generate``; ``--check`` says only whether they are in sync."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboards.generate import agents, budget_overview, denials, enforcement, reconciliation, rules

DIRECTORY = Path(__file__).parent.parent
BOARDS = (budget_overview, agents, enforcement, denials, reconciliation)


def board_files() -> dict[str, str]:
    """The text of each board, by the name of its file."""
    boards = [module.board() for module in BOARDS]
    return {board.file: board.json() for board in boards}


def main(arguments: list[str] | None = None) -> int:
    """Write the files; with ``--check`` write nothing, and return 1 where one is out of date."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where a file is out of date")
    check = parser.parse_args(arguments).check
    stale = []
    for name, text in board_files().items():
        path = DIRECTORY / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"out of date: {', '.join(stale)}; run make dashboards", file=sys.stderr)
    return max(bool(stale), rules.main(["--check"] if check else []))
