"""The snippets of docs/degradation.md run as they stand, one after the other."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from agents import Runner

from cycles_otel import Defer, Denial, Disable, Raise, StepDeniedError, governed_model
from cycles_otel.degradation.policies import NOT_RUN
from cycles_otel.degradation.tools import is_governed
from cycles_otel.local import LocalCycles
from tests.degradation.desk import tool_outputs
from tests.run.desk import calls, model, says
from tests.wire.answers import Answer
from tests.wire.stub import Stub

PAGE = Path(__file__).resolve().parents[2] / "docs" / "degradation.md"
BUDGETS = {"tenant:acme": {"USD_MICROCENTS": 100_000, "RISK_POINTS": 0}}
"""Too little for an LLM call at the default estimate, enough for one with the cheaper model; nothing for tools."""


@pytest.fixture
def server() -> Iterator[LocalCycles]:
    with LocalCycles(budgets=BUDGETS) as server:
        yield server


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def snippets() -> list[CodeType]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [compile(block, PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT) for block in blocks]


async def run(snippet: CodeType, names: dict[str, Any]) -> None:
    result = eval(snippet, names)
    if inspect.isawaitable(result):
        await result


async def test_each_snippet_does_what_the_page_says(
    server: LocalCycles, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**server.environ(), "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": stub.url}.items():
        monkeypatch.setenv(name, value)
    stub.will(Answer(text="The right to spend."))
    names: dict[str, Any] = {}
    policies, downgrade, disable, function = snippets()

    await run(policies, names)
    await run(downgrade, names)
    assert names["result"].final_output == "The right to spend."
    assert [request.body["model"] for request in stub.requests] == ["gpt-4o-mini"]

    await run(disable, names)
    (tool,) = names["agent"].tools
    assert is_governed(tool)
    clerk = names["agent"].clone(model=governed_model(model(calls(30, "send_email", to="Ann"), says(40))))
    server.fund("tenant:acme", 10_000_000)
    async with names["hooks"] as hooks:
        assert tool_outputs(await Runner.run(clerk, "hello", hooks=hooks)) == [NOT_RUN]

    await run(function, names)
    choose = names["on_tool_denied"]
    frozen = StepDeniedError("denied", reason_code="BUDGET_FROZEN")
    exceeded = StepDeniedError("denied", reason_code="BUDGET_EXCEEDED")
    assert choose(Denial(frozen, "helper", tool="send_email")) == Raise()
    assert choose(Denial(exceeded, "helper", tool="issue_refund")) == Defer(10)
    assert choose(Denial(exceeded, "helper", tool="send_email")) == Disable("send_email is over budget today.")
