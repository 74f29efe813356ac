"""An agent that sends emails until its budget of risk points is used up, and runs of pytest on a user's test file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner, Tool

from cycles_otel import StepDeniedError
from cycles_otel.local import LocalCycles
from tests.hooks.desk import CountingTool
from tests.run.desk import calls, hooks_of, model, says

TWO_EMAILS = {"tenant:acme": {"TOKENS": 100_000, "RISK_POINTS": 100}}
"""Enough for two emails at 50 points each."""
_LONGEST = 150.0
runs_pytest = pytest.mark.timeout(2 * _LONGEST)
"""Of a test that starts an interpreter, with plugins and the SDK, on a machine that has other work."""
email_budget = pytest.mark.local_cycles(budgets=TWO_EMAILS)


async def send_emails(server: LocalCycles, emails: int, *, agent: str = "helper", **parameters: Any) -> None:
    """Let an agent send so many emails, one in each turn; a denial ends that. Its n-th LLM call uses n tokens."""
    turns = [calls(number, "send_email") for number in range(1, emails + 1)]
    tools: list[Tool] = [CountingTool("send_email").tool]
    script = model(*turns, says(emails + 1))
    async with hooks_of(server, tool_risk={"send_email": 50}, **parameters) as hooks:
        try:
            await Runner.run(Agent(name=agent, model=script, tools=tools), "hello", hooks=hooks)
        except StepDeniedError:
            return


def run_pytest(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file with this source, as a user does."""
    (folder / "test_agent.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", *arguments]
    # In CI pytest says in its summary once more, and whole, what was wrong.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, timeout=_LONGEST, check=False, env=environment
    )
