"""Runs an example as a user would, in a process of its own, and reads what it printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cycles_otel.local import LocalCycles
from tests.wire.stub import Stub

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("basic_budget", "tool_governance", "multi_agent")
_BUDGET = re.compile(r"^(\S+)  (\w+): ([\d,]+) allocated, ([\d,]+) spent, (-?[\d,]+) left$", re.MULTILINE)


@dataclass(frozen=True)
class Figures:
    """What an example printed of one budget, in its unit."""

    allocated: int
    spent: int
    left: int


@dataclass(frozen=True)
class Played:
    """An example that came to its end."""

    output: str

    @property
    def budgets(self) -> dict[tuple[str, str], Figures]:
        """The budgets that it printed, by scope and unit."""
        return {
            (scope, unit): Figures(*(int(figure.replace(",", "")) for figure in figures))
            for scope, unit, *figures in _BUDGET.findall(self.output)
        }


def play(example: str, stub: Stub, server: LocalCycles | None = None) -> Played:
    """Run an example to its end, with OpenAI's key and the stub's address; for real, where a Cycles server is given.

    Without one it has a key for OpenAI, and must not use it.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_KEY": "sk-proj-of-the-example",
        "OPENAI_BASE_URL": stub.url,
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        **(server.environ() if server is not None else {}),
    }
    command = [sys.executable, str(ROOT / "examples" / f"{example}.py")]
    ended = subprocess.run(
        command, env=environment, cwd=ROOT.parent, capture_output=True, text=True, timeout=50, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return Played(ended.stdout)
