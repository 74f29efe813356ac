"""The API key is in the header of a request and nowhere else; what a model was told or said is nowhere at all."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Runner, function_tool
from prometheus_client import generate_latest

from cycles_otel import CyclesRunHooks, StepDeniedError, cycles_budget_guardrail
from cycles_otel.local import Fault, LocalCycles
from tests.run.desk import agent, calls, says
from tests.telemetry.witness import Witness

PROMPT, ANSWER, ARGUMENT = "marked-prompt-8c1f", "marked-answer-8c1f", "marked-argument-8c1f"
RESULT, INSTRUCTIONS = "marked-result-8c1f", "marked-instructions-8c1f"
MARKS = (PROMPT, ANSWER, ARGUMENT, RESULT, INSTRUCTIONS)


@function_tool
def look_up(query: str) -> str:
    """Finds something."""
    return RESULT


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets={"tenant:acme": {"TOKENS": 10_000, "RISK_POINTS": 3}}) as server:
        yield server


async def busy(server: LocalCycles, witness: Witness, journal: Path) -> list[str]:
    """Runs with everything that can be emitted in them: denials, faults, journaled spends; what the errors print."""
    config = server.config(journal_enabled=True, journal_dir=str(journal), retry_flush_timeout=0.2)
    given: dict[str, Any] = {"config": config, "recorder": witness.recorder}
    guard = cycles_budget_guardrail(unit="TOKENS", estimate=10, **given)
    printed: list[str] = []
    async with CyclesRunHooks(llm_unit="TOKENS", llm_estimate=100, **given) as hooks:
        printed += [repr(hooks), str(hooks), repr(hooks.bind(app="desk")), repr(vars(hooks)), repr(guard)]
        for fault in (
            None,
            Fault("reserve", status=503, times=2),
            Fault("commit", status=401),
            Fault("event", status=500),
        ):
            if fault is not None:
                server.inject(fault)
            desk = agent(
                calls(10, "look_up", query=ARGUMENT),
                says(20, ANSWER),
                tools=[look_up],
                instructions=INSTRUCTIONS,
                input_guardrails=[guard],
            )
            try:
                await Runner.run(desk, PROMPT, hooks=hooks)
            except StepDeniedError as denied:
                printed.append("".join(traceback.format_exception(denied)))
        server.inject(Fault(status=503, times=None))
        await Runner.run(agent(says(20, ANSWER), instructions=INSTRUCTIONS), PROMPT, hooks=hooks)
    return printed


async def test_neither_a_key_nor_a_word_of_a_conversation_is_in_anything_that_is_emitted(
    server: LocalCycles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    witness = Witness()
    with caplog.at_level(logging.DEBUG):
        printed = await busy(server, witness, tmp_path)
    emitted = {
        "spans": "\n".join(span.to_json() for span in witness.spans),
        "metrics": generate_latest(witness.registry).decode(),
        "logs of ours": "\n".join(
            record.getMessage() + str(vars(record)) for record in caplog.records if _is_ours(record)
        ),
        "journal": contents(tmp_path),
        "requests": "\n".join(str(request.body) + request.path for request in server.requests),
        "printed": "\n".join(printed),
    }
    for where, text in emitted.items():
        assert text, f"nothing was emitted as {where}: the test proves nothing"
        assert server.api_key not in text, where
        for mark in MARKS if where != "printed" else ():
            assert mark not in text, (where, mark)
    assert server.api_key not in "\n".join(record.getMessage() for record in caplog.records)
    witness.close()


def contents(folder: Path) -> str:
    return "\n".join(f"{path} {path.read_text()}" for path in folder.rglob("*") if path.is_file())


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.startswith("cycles_otel")


def test_a_program_that_crashes_does_not_print_the_key(server: LocalCycles) -> None:
    program = """
import asyncio
from agents import Runner
from cycles_otel import CyclesRunHooks
from tests.run.desk import agent, says
hooks = CyclesRunHooks(llm_unit="TOKENS", llm_estimate=10**9)
asyncio.run(Runner.run(agent(says(20)), "x", hooks=hooks))
"""
    environment = {**os.environ, **server.environ()}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "StepDeniedError" in done.stderr
    assert server.api_key not in done.stderr + done.stdout
