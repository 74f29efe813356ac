"""A version of the SDK whose runner cannot be wrapped: said once, and the hooks do what they are called for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from cycles_otel.local import LocalCycles

_PROGRAM = """
import asyncio, json, logging, sys

import agents.run
del agents.run.AgentRunner  # The runner itself works on: only its name is another.

import agents
from prometheus_client import REGISTRY

from cycles_otel import CyclesRunHooks
from tests.run.desk import agent, calls, says

agents.set_trace_processors([])
warnings = []
handler = logging.Handler()
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("cycles_otel").addHandler(handler)


@agents.function_tool
def look_up() -> str:
    return "found"


async def main():
    hooks = CyclesRunHooks(llm_unit="TOKENS", llm_estimate=1_000)
    CyclesRunHooks(llm_unit="TOKENS")
    clerk = agent(calls(100, "look_up"), says(110), tools=[look_up])
    output = (await agents.Runner.run(clerk, "hello", hooks=hooks)).final_output
    try:
        await agents.Runner.run(agent(ConnectionError("down")), "hello", hooks=hooks)
    except ConnectionError:
        released = await hooks.release_pending("agent_run_failed")
    await hooks.aclose()
    info = [s.labels for m in REGISTRY.collect() for s in m.samples if s.name == "cycles_client_info"]
    json.dump({"output": output, "released": released, "warnings": warnings, "info": info}, sys.stdout)


asyncio.run(main())
"""


@pytest.fixture
def said(server: LocalCycles) -> Mapping[str, Any]:
    """What a program with such an SDK says of its two runs, of which the second fails."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, **server.environ()},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: Mapping[str, Any] = json.loads(done.stdout)
    return answer


def test_it_is_said_once_and_the_hooks_work(server: LocalCycles, said: Mapping[str, Any]) -> None:
    assert said["output"] == "done"
    (warning,) = (text for text in said["warnings"] if "AgentRunner" in text)
    assert "release_pending" in warning
    assert {labels["cycles_run_bracketing"] for labels in said["info"]} == {"inactive"}
    assert (server.ledger().charged("TOKENS"), server.ledger().charged("RISK_POINTS")) == (210, 1)
    assert said["released"] == 1
    assert [each.release_reason for each in server.ledger().released] == ["agent_run_failed"]
    assert not server.ledger().active
